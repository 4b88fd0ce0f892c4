import { invalid } from '@tessera/shared/errors';
import { parseGoDuration } from '@tessera/shared/units';

/**
 * The value of an `until` filter: a Unix time, an RFC 3339 time, or how long ago as Go writes durations: `1h30m`.
 * @throws ClusterError `invalidArgument`
 */
export function timeOf(text: string, nowMs: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const agoNs = parseGoDuration(text);
  if (agoNs !== undefined) return nowMs - agoNs / 1e6;
  const parsed = Date.parse(text);
  if (Number.isNaN(parsed)) throw invalid(`until: '${text}' is neither a time nor a duration such as 24h`);
  return parsed;
}
