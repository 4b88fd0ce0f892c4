const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in the words of docker's lists: "5 seconds", "About an hour". Source: docker/go-units. */
export function humanDuration(ms: number): string {
  const plural = (count: number, unit: string) => `${count} ${unit}${count === 1 ? '' : 's'}`;
  if (ms < SECOND) return 'Less than a second';
  if (ms < MINUTE) return plural(Math.floor(ms / SECOND), 'second');
  if (ms < 2 * MINUTE) return 'About a minute';
  if (ms < HOUR) return plural(Math.floor(ms / MINUTE), 'minute');
  if (Math.round(ms / HOUR) === 1) return 'About an hour';
  if (ms < 2 * DAY) return plural(Math.round(ms / HOUR), 'hour');
  if (ms < 14 * DAY) return plural(Math.floor(ms / DAY), 'day');
  if (ms < 60 * DAY) return plural(Math.floor(ms / DAY / 7), 'week');
  if (ms < 730 * DAY) return plural(Math.floor(ms / DAY / 30), 'month');
  return `${Math.floor(ms / DAY / 365)} years`;
}

/** "5 seconds ago", in lower case as a part of a sentence. */
export const timeAgo = (nowMs: number, thenMs: number): string =>
  `${humanDuration(Math.max(0, nowMs - thenMs)).toLowerCase()} ago`;

/** Nanoseconds as Go writes a duration: 1m30s, 1.5s, 500ms. Source: Go's time.Duration.String. */
export function goDuration(ns: number): string {
  if (ns === 0) return '0s';
  if (ns < 1e3) return `${ns}ns`;
  if (ns < 1e6) return `${ns / 1e3}µs`;
  if (ns < 1e9) return `${ns / 1e6}ms`;
  const [hours, minutes] = [Math.floor(ns / 3600e9), Math.floor((ns % 3600e9) / 60e9)];
  const seconds = `${(ns % 60e9) / 1e9}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** Three digits and a decimal unit: 4.26MB. */
export const decimalSize = (bytes: number): string =>
  size(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], 3);

/** Four digits and a binary unit: 64MiB. */
export const binarySize = (bytes: number): string =>
  size(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'], 4);

function size(bytes: number, base: number, units: readonly string[], digits: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}
