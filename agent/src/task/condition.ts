/** Lets callers wait until something is so; whoever changes what it depends on says `notify`. */
export class Condition {
  readonly #waiters = new Set<() => void>();

  /** Resolves as soon as `holds()`; rejects with the signal's reason when that comes first. */
  until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (holds()) return resolve();
      const done = () => {
        this.#waiters.delete(look);
        signal.removeEventListener('abort', onAbort);
      };
      const look = () => {
        if (!holds()) return;
        done();
        resolve();
      };
      const onAbort = () => {
        done();
        reject(signal.reason as Error);
      };
      this.#waiters.add(look);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  notify(): void {
    for (const look of [...this.#waiters]) look();
  }
}
