import { delay, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';

/**
 * Looks again and again until `probe` gives something other than undefined or false, or stops throwing.
 * @throws ClusterError `deadlineExceeded` naming `what`, with the last error as its cause
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  options: { readonly timeoutMs?: number; readonly intervalMs?: number } = {},
): Promise<T> {
  const deadlineMs = systemClock.monotonic() + (options.timeoutMs ?? 60_000);
  let cause: unknown;
  for (;;) {
    try {
      const result = await probe();
      if (result !== undefined && result !== false) return result;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (systemClock.monotonic() >= deadlineMs) {
      throw new ClusterError('deadlineExceeded', `waited in vain for ${what}`, { cause });
    }
    await delay(systemClock, options.intervalMs ?? 50);
  }
}
