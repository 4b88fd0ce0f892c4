import type { Clock } from '@tessera/shared/clock';
import type { Command } from 'commander';
import { ApiError, CliError, MissingError } from './cli-error.js';
import type { ApiClient } from './client/api-client.js';
import type { Input } from './client/input.js';
import type { Config } from './config.js';
import type { Output } from './output/output.js';

/** What every command is handed. */
export interface Cli {
  /** Made when it is first asked for, so that `--help` works without an endpoint. */
  readonly api: ApiClient;
  readonly out: Output;
  readonly input: Input;
  readonly clock: Clock;
  readonly config: Config;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Adds one verb to its noun. */
export type Verb = (noun: Command, cli: Cli) => void;

/** Collects a flag that may be given many times. */
export const many = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** `--filter KEY=VALUE` flags as the API takes them. */
export function parseFilterFlags(flags: readonly string[] = []): Record<string, string[]> {
  const filters: Record<string, string[]> = {};
  for (const flag of flags) {
    const at = flag.indexOf('=');
    const key = at < 0 ? flag : flag.slice(0, at);
    const values = filters[key] ?? [];
    filters[key] = [...values, at < 0 ? '' : flag.slice(at + 1)];
  }
  return filters;
}

export interface Found<T> {
  /** In the order asked for. */
  readonly found: readonly T[];
  /** Why the others are not among them. */
  readonly failures: readonly string[];
}

/** Looks up each of several names. One that is not there does not keep the others from being shown. */
export async function findEach<T>(
  cli: Cli,
  names: readonly string[],
  find: (name: string) => Promise<T>,
): Promise<Found<T>> {
  const results = await Promise.allSettled(names.map(find));
  cli.signal.throwIfAborted();
  const failures = results.flatMap((result) => {
    if (result.status === 'fulfilled') return [];
    const reason: unknown = result.reason;
    // No API at all is one failure, and not one for each name.
    if (!(reason instanceof ApiError || reason instanceof MissingError)) throw reason;
    return [reason.message];
  });
  return {
    found: results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
    failures: [...new Set(failures)],
  };
}

/** @throws CliError with all of them */
export function failIfAny(failures: readonly string[]): void {
  if (failures.length > 0) throw new CliError(failures.join('\n'));
}

/** Runs for each of several names; goes on after a failure, and fails at the end if any did. */
export async function forEachName(
  cli: Cli,
  names: readonly string[],
  work: (name: string) => Promise<void>,
): Promise<void> {
  let failed = false;
  for (const name of names) {
    try {
      await work(name);
    } catch (error) {
      if (cli.signal.aborted) throw error;
      failed = true;
      cli.out.note(error instanceof Error ? error.message : String(error));
    }
  }
  // Each failure has been told already.
  if (failed) throw new CliError('');
}
