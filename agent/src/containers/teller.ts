import type { Clock } from '@tessera/shared/env';

/**
 * How long what can wait does so for what happens next: an exec alone is three things to tell of, and a manager would
 * write each of them down while its user waits for the next.
 */
const WAIT_MS = 100;

/** Tells of something at once, or a little later and then of all that has happened meanwhile. */
export class Teller {
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly clock: Clock,
    private readonly tell: () => void,
  ) {}

  now(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.tell();
  }

  soon(): void {
    if (!this.#closed) this.#cancel ??= this.clock.after(WAIT_MS, () => this.now());
  }

  /** What waits is not told of any more. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }
}
