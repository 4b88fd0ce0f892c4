#!/usr/bin/env node
import { systemClock } from '@tessera/shared/clock';
import { CliError, EXIT_INTERRUPTED } from './cli-error.js';
import { createInput } from './client/input.js';
import { run } from './run.js';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new CliError('', EXIT_INTERRUPTED)));
process.once('SIGTERM', () => interrupted.abort(new CliError('', EXIT_INTERRUPTED)));
// A reader such as `head` that has seen enough is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const { stdin, stdout, stderr, env } = process;
process.exitCode = await run(process.argv.slice(2), {
  stdout,
  stderr,
  env,
  input: createInput(stdin, stdout),
  clock: systemClock,
  signal: interrupted.signal,
});
