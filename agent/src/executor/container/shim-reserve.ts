import { Shim } from '@tessera/native';
import type { Clock } from '@tessera/shared/env';

/** How long one waits for its start: `docker run` asks for that some ten milliseconds after the create. */
const WAIT_MS = 1_000;

/**
 * A shim that is started before its container is, for to start one takes longest of all that a start does. Who has just
 * created a container is likely to start it; whichever is started first takes the shim.
 */
export class ShimReserve {
  #waiting: Promise<Shim> | undefined;
  #cancel: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  /** A start is likely to follow. */
  expect(): void {
    this.#cancel?.();
    this.#cancel = this.clock.after(WAIT_MS, () => this.#waiting && this.#letGo(this.#waiting));
    if (this.#waiting) return;
    const shim = Shim.spawn();
    this.#waiting = shim;
    shim
      .then(({ outcome }) => outcome)
      .then(
        // It has died meanwhile, or been taken.
        () => this.#letGo(shim),
        () => this.#letGo(shim),
      );
  }

  /** The one that waits, or a new one. */
  take(): Promise<Shim> {
    const shim = this.#waiting ?? Shim.spawn();
    this.#waiting = undefined;
    this.#cancel?.();
    return shim;
  }

  #letGo(shim: Promise<Shim>): void {
    if (this.#waiting !== shim) return;
    this.#waiting = undefined;
    shim.then(
      async (found) => {
        found.kill();
        await found.ended();
        found.release();
      },
      () => {}, // there is none
    );
  }
}
