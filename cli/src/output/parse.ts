import { parseGoDuration } from '@tessera/shared/units';
import { badFlag, CliError, EXIT_USAGE } from '../cli-error.js';

// What users write in flags, as docker reads it.

/** A whole number, zero or more. */
export const parseCount =
  (flag: string) =>
  (value: string): number => {
    if (!/^\d{1,15}$/.test(value)) throw badFlag(flag, value, 'give a whole number');
    return Number(value);
  };

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
};

/** `64M`, `1.5g`, `512KiB`, in powers of 1024. */
export const parseBytes =
  (flag: string) =>
  (value: string): number => {
    const found = /^(\d+(?:\.\d+)?) ?([bkmgtp]?)(?:ib|b)?$/i.exec(value);
    const unit = found ? BYTES[found[2]!.toLowerCase()] : undefined;
    if (!found || unit === undefined) throw badFlag(flag, value, 'give a size such as 64M or 1G');
    return Math.floor(Number(found[1]) * unit);
  };

/** CPUs with up to nine decimals, as 1e-9 of one. */
export const parseCpus =
  (flag: string) =>
  (value: string): number => {
    if (!/^\d+(\.\d{1,9})?$/.test(value)) throw badFlag(flag, value, 'give a number of CPUs such as 0.5');
    return Math.round(Number(value) * 1e9);
  };

/** Go's durations, `1m30s`, as nanoseconds. */
export const parseDuration =
  (flag: string) =>
  (value: string): number => {
    const ns = parseGoDuration(value);
    if (ns === undefined) throw badFlag(flag, value, 'give a duration such as 500ms, 10s or 1m30s');
    return ns;
  };

/** `KEY=VALUE` flags as a map; a key alone has an empty value. @throws CliError for a value without a key */
export function parseMap(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      if (/^\s*(=|$)/.test(pair)) throw new CliError(`'${pair}' has no name: write KEY=VALUE`, EXIT_USAGE);
      const at = pair.indexOf('=');
      return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** A point in time as Unix seconds with decimals: a time, or a duration before now. */
export function parseSince(flag: string, value: string, nowMs: number): string {
  if (/^\d+(\.\d{1,9})?$/.test(value)) return value;
  const isDuration = /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(value);
  const atMs = isDuration ? nowMs - parseDuration(flag)(value) / 1e6 : Date.parse(value);
  if (!Number.isFinite(atMs)) {
    throw badFlag(flag, value, 'give a time such as 2026-01-02T13:23:37Z or a duration such as 42m');
  }
  return (atMs / 1000).toFixed(3);
}

/**
 * Words of a command line, as a shell without expansions splits them: quotes of both kinds, and a backslash before
 * what it makes ordinary.
 */
export const parseWords =
  (flag: string) =>
  (value: string): string[] => {
    const words: string[] = [];
    let rest = value.trimStart();
    while (rest !== '') {
      const [word] = /^(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+(?=\s|$)/s.exec(rest) ?? [];
      if (word === undefined) throw badFlag(flag, value, 'close the quotes');
      words.push(unquote(word));
      rest = rest.slice(word.length).trimStart();
    }
    return words;
  };

const unquote = (word: string): string =>
  word.replace(
    /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
    (_, escaped?: string, double?: string, single?: string) =>
      // Within double quotes a backslash stands for itself, except before a quote or another one (POSIX 2.2.3).
      escaped ?? double?.replace(/\\(["\\])/g, '$1') ?? single ?? '',
  );
