import { existsSync, type FSWatcher, watch } from 'node:fs';

/**
 * Tells that something in a directory has changed, also when it does not exist yet: until then its parent is watched.
 * Every reader in this process shares one inotify instance, of which a user has few.
 */
export class DirectoryWatch implements Disposable {
  #count = 0;
  #waiting: (() => void) | undefined;
  #watcher: FSWatcher | undefined;
  readonly #onAbort = () => this.wake();

  /** @param parent an existing directory; if that goes, everything has changed */
  constructor(
    private readonly parent: string,
    private readonly name: string,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (!this.#watchChild()) this.#watchParent();
  }

  /** A point in time for `changed`: taken before one looks, so that nothing is missed. */
  mark(): number {
    return this.#count;
  }

  /** Resolves when there has been a change since `mark`, or the signal is aborted. */
  changed(mark: number): Promise<void> {
    if (this.#count !== mark || this.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  wake(): void {
    this.#count++;
    this.#waiting?.();
    this.#waiting = undefined;
  }

  [Symbol.dispose](): void {
    this.signal.removeEventListener('abort', this.#onAbort);
    this.#watcher?.close();
  }

  #watchChild(): boolean {
    const path = `${this.parent}/${this.name}`;
    if (!existsSync(path)) return false;
    return this.#watch(path, () => this.wake());
  }

  #watchParent(): void {
    this.#watch(this.parent, () => {
      if (this.#watchChild()) this.wake();
    });
    // It may have come while the watch was being made.
    if (this.#watchChild()) this.wake();
  }

  #watch(path: string, onChange: () => void): boolean {
    try {
      const watcher = watch(path, { persistent: false }, onChange);
      watcher.on('error', () => this.wake());
      this.#watcher?.close();
      this.#watcher = watcher;
      return true;
    } catch {
      return false; // removed meanwhile: its container has ended, which wakes us too
    }
  }
}
