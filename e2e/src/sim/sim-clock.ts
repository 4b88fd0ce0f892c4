import { Heap } from '@tessera/shared/collections';
import type { Clock } from '@tessera/shared/env';

interface Timer {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** Virtual time. It moves from one timer to the next, and lets every promise settle in between. */
export class SimClock implements Clock {
  readonly #timers = new Heap<Timer>((a, b) => a.atMs - b.atMs || a.order - b.order);
  readonly #startMs: number;
  #nowMs: number;
  #order = 0;

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs - this.#startMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    // Whole milliseconds: what falls due together is one step.
    const atMs = this.#nowMs + Math.max(0, Math.ceil(delayMs));
    const timer: Timer = { atMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      timer.callback = undefined;
    };
  }

  /** Runs until `untilMs`, calling `onStep` whenever all that was due at one moment has settled. */
  async run(untilMs: number, onStep: () => void): Promise<void> {
    await settle();
    onStep();
    for (let next = this.#timers.peek(); next && next.atMs <= untilMs; next = this.#timers.peek()) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      for (; next && next.atMs <= this.#nowMs; next = this.#timers.peek()) {
        this.#timers.pop();
        next.callback?.();
      }
      await settle();
      onStep();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }
}

/** All work happens in promise jobs: when the event loop comes round, none is left. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One process's clock: while the process is stopped no timer of it fires; when it goes on, all that are due do. */
export class ProcessClock implements Clock {
  #held: (() => void)[] | undefined;

  constructor(private readonly clock: Clock) {}

  now(): number {
    return this.clock.now();
  }

  monotonic(): number {
    return this.clock.monotonic();
  }

  after(delayMs: number, callback: () => void): () => void {
    let cancelled = false;
    const fire = () => {
      if (cancelled) return;
      if (this.#held) this.#held.push(fire);
      else callback();
    };
    const cancel = this.clock.after(delayMs, fire);
    return () => {
      cancelled = true;
      cancel();
    };
  }

  pause(): void {
    this.#held ??= [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const fire of held) fire();
  }
}
