import { type Clock, delay, type Random } from '@tessera/shared/env';
import { RegistryError } from './registry-errors.js';
import { TransportError } from './transport-errors.js';

/** As dockerd's --max-download-attempts. */
const ATTEMPTS_MAX = 5;
/** Also with progress each time: a registry that gives a few bytes at a time is of no use. */
const ATTEMPTS_IN_ALL_MAX = 100;
const DELAY_MIN_MS = 1_000;
const DELAY_MAX_MS = 30_000;
/** A registry that asks for more patience than this is as good as away. */
const RETRY_AFTER_MAX_MS = 120_000;

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Told each second how many are left. */
  readonly waiting?: (seconds: number) => void;
}

/**
 * Runs `attempt` until it succeeds, at most five times in a row without progress, waiting longer each time and as
 * long as the registry asks for. What will not be better next time is thrown at once.
 *
 * @param attempt may report progress: then the count begins anew
 */
export async function withRetries<T>(
  { clock, random, waiting }: RetryOptions,
  signal: AbortSignal,
  attempt: (progressed: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0;
  for (let attempts = 1; ; attempts++) {
    let hasProgressed = false;
    try {
      return await attempt(() => {
        hasProgressed = true;
      });
    } catch (error) {
      signal.throwIfAborted();
      failures = hasProgressed ? 1 : failures + 1;
      if (failures >= ATTEMPTS_MAX || attempts >= ATTEMPTS_IN_ALL_MAX || !isWorthRepeating(error))
        throw error;
      const asked = error instanceof RegistryError ? error.retryAfterMs : undefined;
      if (asked !== undefined && asked > RETRY_AFTER_MAX_MS) throw error;
      const grown = Math.min(DELAY_MIN_MS * 2 ** (failures - 1), DELAY_MAX_MS);
      // Half of it by chance: many hosts that lost one registry do not come back at one moment.
      await wait(asked ?? grown / 2 + (random.next() * grown) / 2, clock, signal, waiting);
    }
  }
}

export function isWorthRepeating(error: unknown): boolean {
  if (error instanceof TransportError) return error.isBroken;
  if (error instanceof DamagedBlob) return true;
  return (
    error instanceof RegistryError && (error.status === 429 || error.status === 408 || error.status >= 500)
  );
}

/** What came was not what its digest says. It begins anew. */
export class DamagedBlob extends Error {}

/** Of an answer's `Retry-After`: seconds or a date. Source: RFC 9110, 10.2.3. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

async function wait(
  delayMs: number,
  clock: Clock,
  signal: AbortSignal,
  waiting?: (seconds: number) => void,
): Promise<void> {
  let leftMs = delayMs;
  while (leftMs > 0) {
    waiting?.(Math.ceil(leftMs / 1000));
    const stepMs = Math.min(leftMs, 1000);
    await delay(clock, stepMs, signal);
    leftMs -= stepMs;
  }
}
