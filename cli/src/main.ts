#!/usr/bin/env node
import { systemClock } from '@tessera/shared/clock';
import { CommanderError } from 'commander';
import type { Cli } from './cli.js';
import { CliError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE } from './cli-error.js';
import { ApiClient } from './client/api-client.js';
import { type EndpointFlags, resolveEndpoint } from './client/endpoint.js';
import { readConfig } from './config.js';
import { createOutput } from './output/output.js';
import { createProgram } from './program.js';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new CliError('', EXIT_INTERRUPTED)));
process.once('SIGTERM', () => interrupted.abort(new CliError('', EXIT_INTERRUPTED)));
// A reader such as `head` that has seen enough is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const config = readConfig(process.env);
const makeCli = (flags: EndpointFlags): Cli => {
  let api: ApiClient | undefined;
  return {
    get api() {
      api ??= new ApiClient(resolveEndpoint(flags, config), interrupted.signal);
      return api;
    },
    out: createOutput(process.stdout, process.stderr),
    clock: systemClock,
    config,
    signal: interrupted.signal,
  };
};

try {
  const program = await createProgram(makeCli, process.argv.slice(2));
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(interrupted.signal.aborted ? interrupted.signal.reason : error);
}

/** Tells what went wrong; gives the exit code. */
function report(error: unknown): number {
  // Commander has already said what was wrong with the flags, or shown help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof CliError) {
    if (error.message !== '') process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`tsctl: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT_FAILED;
}
