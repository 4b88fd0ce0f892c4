import type { Clock } from '@tessera/shared/clock';
import { type Command, CommanderError } from 'commander';
import type { Cli } from './cli.js';
import { CliError, EXIT_FAILED, EXIT_USAGE } from './cli-error.js';
import { ApiClient } from './client/api-client.js';
import { type EndpointFlags, resolveEndpoint } from './client/endpoint.js';
import type { Input } from './client/input.js';
import { readConfig } from './config.js';
import { createOutput, type Sinks } from './output/output.js';
import { createProgram } from './program.js';

/** What a command line runs in. */
export interface Surroundings extends Sinks {
  readonly env: Readonly<NodeJS.ProcessEnv>;
  readonly input: Input;
  readonly clock: Clock;
  /** Aborted by Ctrl-C, with the CliError to end with. */
  readonly signal: AbortSignal;
}

/**
 * Runs one command.
 *
 * @param words the arguments after the program's name
 * @returns the exit code: 0, 1 when it failed, 125 when it was wrongly asked for
 */
export async function run(words: readonly string[], surroundings: Surroundings): Promise<number> {
  const { env, clock, input, signal, stderr } = surroundings;
  const config = readConfig(env);
  const makeCli = (flags: EndpointFlags): Cli => {
    let api: ApiClient | undefined;
    return {
      get api() {
        api ??= new ApiClient(resolveEndpoint(flags, config), signal);
        return api;
      },
      out: createOutput(surroundings),
      input,
      clock,
      config,
      signal,
    };
  };
  try {
    const program = await createProgram(makeCli, words, surroundings);
    await program.parseAsync(asksForHelp(program, words) ? [...words, '--help'] : words, { from: 'user' });
    return 0;
  } catch (error) {
    return report(signal.aborted ? signal.reason : error, stderr);
  }
}

/** Without a command, or with a noun alone: what is there is shown, and that is no failure. */
function asksForHelp(program: Command, words: readonly string[]): boolean {
  const { operands, unknown } = program.parseOptions([...words]);
  if (unknown.length > 0) return false;
  if (operands.length === 0) return true;
  const noun = program.commands.find((command) => command.name() === operands[0]);
  return operands.length === 1 && noun !== undefined && noun.commands.length > 0;
}

/** Tells what went wrong; gives the exit code. */
function report(error: unknown, stderr: Sinks['stderr']): number {
  // Commander has already said what was wrong with the flags, or shown help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof CliError) {
    if (error.message !== '') stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
  stderr.write(`tsctl: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT_FAILED;
}
