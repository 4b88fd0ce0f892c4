import type { Clock } from '@tessera/shared/env';

export interface CountedTimeOptions {
  readonly tickMs: number;
  /** A tick this much after the one before says that the process slept or was starved. */
  readonly lateMs: number;
  /** While true, silence proves nothing: the lease is unsure, or etcd is without quorum. */
  readonly halted: () => boolean;
  /** Called on each tick that may be trusted to judge others by. */
  readonly onTick: () => void;
}

/**
 * Time in which the silence of others counts. It stands still while this process sleeps or is halted, so
 * a manager that was stopped for ten seconds has not heard ten seconds of silence.
 */
export class CountedTime {
  #countedMs = 0;
  #lastTickMs: number;
  #cancel: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly options: CountedTimeOptions,
  ) {
    this.#lastTickMs = clock.monotonic();
    this.#schedule();
  }

  /** Milliseconds counted so far. */
  now(): number {
    return this.#countedMs;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #schedule(): void {
    this.#cancel = this.clock.after(this.options.tickMs, () => this.#tick());
  }

  #tick(): void {
    const { tickMs, lateMs, halted, onTick } = this.options;
    const nowMs = this.clock.monotonic();
    const elapsedMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    this.#schedule();
    if (halted()) return;
    // A little lateness is a busy machine and counts; more of it does not.
    this.#countedMs += Math.min(elapsedMs, 2 * tickMs);
    // After a long sleep the heartbeats of that time wait in the sockets: read them before judging.
    if (elapsedMs < lateMs) onTick();
  }
}
