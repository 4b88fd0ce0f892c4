type Kind = 'shared' | 'exclusive';

interface Waiting {
  readonly kind: Kind;
  readonly grant: () => void;
}

/** Who may be at a container's files: many together, or one alone; in the order of their coming. */
export class FilesLock {
  #shared = 0;
  #isExclusive = false;
  readonly #waiting: Waiting[] = [];

  /** @returns what gives it up; may be called more than once */
  async acquire(kind: Kind, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#isFree(kind)) await this.#wait(kind, signal);
    else this.#take(kind);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (kind === 'shared') this.#shared--;
      else this.#isExclusive = false;
      this.#grantNext();
    };
  }

  #isFree(kind: Kind): boolean {
    return !this.#isExclusive && (kind === 'shared' || this.#shared === 0);
  }

  #take(kind: Kind): void {
    if (kind === 'shared') this.#shared++;
    else this.#isExclusive = true;
  }

  #grantNext(): void {
    for (let next = this.#waiting[0]; next && this.#isFree(next.kind); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.kind);
      next.grant();
    }
  }

  #wait(kind: Kind, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        kind,
        grant: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#grantNext();
        reject(signal.reason as Error);
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
