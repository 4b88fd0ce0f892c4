const NANOSECONDS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go's durations, `1m30s`, as nanoseconds; undefined for what is none. Negative ones are none here. */
export function parseGoDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined;
  return Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * NANOSECONDS[unit!]!, 0));
}

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
