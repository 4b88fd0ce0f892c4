/** Time, as everything in the cluster sees it. All durations are milliseconds. */
export interface Clock {
  /** Wall-clock time since the Unix epoch. For timestamps people read; it may jump. */
  now(): number;
  /** A steady count that never runs backwards. For measuring how long something took. */
  monotonic(): number;
  /** Calls `callback` once, `delayMs` from now. Returns a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    // Node's timers hold 31 bits; a longer delay would fire at once.
    const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
    return () => clearTimeout(timer);
  },
};

/** Resolves `delayMs` from now, or rejects with the signal's reason as soon as it is aborted. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      cancel();
      reject(signal?.reason as Error);
    };
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
