/**
 * Work that several may ask for at once and that is done once.
 *
 * The first to ask does it, under its own signal. Whoever waits for one that was cancelled does it anew, so
 * that a caller's change of mind costs nobody else anything but time.
 */
export class SharedWork<T> {
  readonly #running = new Map<string, { readonly promise: Promise<T>; readonly signal: AbortSignal }>();

  async run(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const running = this.#running.get(key);
      if (!running) return this.#start(key, signal, work);
      try {
        return await untilAborted(running.promise, signal);
      } catch (error) {
        if (signal.aborted || !running.signal.aborted) throw error;
      }
    }
  }

  async #start(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.#running.set(key, { promise, signal });
    try {
      return await promise;
    } finally {
      this.#running.delete(key);
    }
  }
}

/** The promise's outcome, or the signal's reason as soon as it is aborted. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * Runs all under one signal. The first failure aborts the others, and is thrown when they have ended: nothing
 * goes on in the background.
 */
export async function allOrNone<T>(
  signal: AbortSignal,
  works: readonly ((signal: AbortSignal) => Promise<T>)[],
): Promise<T[]> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  let fault: { readonly error: unknown } | undefined;
  const outcomes = await Promise.all(
    works.map((work) =>
      work(both).catch((error: unknown) => {
        fault ??= { error };
        failed.abort(error);
        return undefined;
      }),
    ),
  );
  if (fault) throw fault.error;
  return outcomes as T[];
}

/** A bound on how many run at once; the others wait in order. */
export class Slots {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** Whether the next one would have to wait. */
  get isFull(): boolean {
    return this.#free === 0;
  }

  async use<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/**
 * A costly operation whose callers share it: one that comes while it runs waits for the next run, which begins
 * after everything its callers had done before.
 */
export class GroupCommit {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(private readonly commit: () => Promise<void>) {}

  run(): Promise<void> {
    if (!this.#running) {
      this.#running = this.commit().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.run();
      });
    return this.#next;
  }
}
