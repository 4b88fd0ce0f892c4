import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Kv, LeaseId } from './kv/kv.js';

/** Beats in one time to live: two may be lost before the lease is. */
const BEATS = 3;
/** Clocks of two hosts drift; certainty ends a little before the lease can. */
const SURE_SHARE = 0.9;
const RETRY_MS = 500;

/**
 * Holds a lease for as long as it can, and gets another one when it was lost.
 *
 * What was written under a lost lease is gone: whoever put it there is told by `onLost` and puts it again.
 */
export class LeaseKeeper {
  #id: LeaseId | undefined;
  #sureUntilMs = 0;
  #cancelBeat = () => {};
  #closing: Promise<void> | undefined;
  readonly #losers = new Set<() => void>();

  constructor(
    private readonly kv: Kv,
    private readonly env: { readonly clock: Clock; readonly logger: Logger },
    private readonly ttlMs: number,
  ) {}

  /** Gets the first lease. @throws ClusterError `unavailable`; call again */
  async start(): Promise<void> {
    const { clock } = this.env;
    const askedAtMs = clock.monotonic();
    const { id, ttlMs } = await this.kv.grantLease(this.ttlMs);
    if (this.#closing) return this.kv.revokeLease(id);
    this.#id = id;
    this.#sureUntilMs = askedAtMs + ttlMs * SURE_SHARE;
    this.#beatAfter(ttlMs / BEATS);
  }

  /** The lease held, or undefined when there is none. */
  get id(): LeaseId | undefined {
    return this.#id;
  }

  /** Whether the lease certainly lives: not when etcd was silent, or this process stood still, for too long. */
  isSure(): boolean {
    return this.#id !== undefined && this.env.clock.monotonic() < this.#sureUntilMs;
  }

  /** Calls `handler` each time a lease was lost, before the next one is asked for. */
  onLost(handler: () => void): () => void {
    this.#losers.add(handler);
    return () => this.#losers.delete(handler);
  }

  /** Ends the lease, and with it every key under it. If etcd is away it ends by itself. Repeatable. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#cancelBeat();
    const id = this.#id;
    this.#id = undefined;
    if (!id) return;
    try {
      await this.kv.revokeLease(id);
    } catch (error) {
      this.env.logger.warn({ error }, 'a lease could not be revoked: its time will run out');
    }
  }

  #beatAfter(delayMs: number): void {
    if (this.#closing) return;
    this.#cancelBeat();
    this.#cancelBeat = this.env.clock.after(delayMs, () => void this.#beat());
  }

  async #beat(): Promise<void> {
    const { clock } = this.env;
    const id = this.#id;
    const askedAtMs = clock.monotonic();
    try {
      if (!id) return await this.start();
      const { ttlMs } = await this.kv.keepAlive(id);
      if (this.#id !== id) return;
      this.#sureUntilMs = askedAtMs + ttlMs * SURE_SHARE;
      this.#beatAfter(ttlMs / BEATS);
    } catch (error) {
      if (this.#closing) return;
      if (error instanceof ClusterError && error.kind === 'notFound') return this.#lose();
      this.env.logger.warn({ error, sure: this.isSure() }, 'no beat of the lease: trying again');
      this.#beatAfter(Math.min(RETRY_MS, this.ttlMs / BEATS));
    }
  }

  #lose(): void {
    this.#id = undefined;
    this.env.logger.warn({}, 'the lease was lost: asking for another');
    for (const handler of [...this.#losers]) handler();
    this.#beatAfter(0);
  }
}
