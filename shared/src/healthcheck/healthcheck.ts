import { Healthcheck } from '../model/index.js';

/** HEALTHCHECK as an image's configuration has it; durations are nanoseconds. */
export interface ImageHealthcheck {
  readonly Test?: readonly string[] | null | undefined;
  readonly Interval?: number | undefined;
  readonly Timeout?: number | undefined;
  readonly StartPeriod?: number | undefined;
  readonly StartInterval?: number | undefined;
  readonly Retries?: number | undefined;
}

/**
 * Field by field, what the user says over what the image says; undefined where neither says anything.
 *
 * Source: moby daemon/commit.go, merge
 */
export function effectiveHealthcheck(
  own: Healthcheck | undefined,
  image: ImageHealthcheck | null | undefined,
): Healthcheck | undefined {
  const ms = (ns: number | undefined) => Math.ceil((ns ?? 0) / 1e6);
  const merged = Healthcheck.fromPartial({
    test: own?.test.length ? [...own.test] : [...(image?.Test ?? [])],
    intervalMs: own?.intervalMs || ms(image?.Interval),
    timeoutMs: own?.timeoutMs || ms(image?.Timeout),
    startPeriodMs: own?.startPeriodMs || ms(image?.StartPeriod),
    startIntervalMs: own?.startIntervalMs || ms(image?.StartInterval),
    retries: own?.retries || (image?.Retries ?? 0),
  });
  return own || merged.test.length > 0 ? merged : undefined;
}
