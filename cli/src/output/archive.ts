import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Cli } from '../cli.js';
import { CliError, EXIT_USAGE } from '../cli-error.js';

/** @param example how it is sent on instead */
export function refuseTerminal(cli: Cli, output: string | undefined, example: string): void {
  if (output || !cli.out.isTty) return;
  throw new CliError(
    `refusing to write an archive to a terminal: use -o FILE, or send it on: ${example}`,
    EXIT_USAGE,
  );
}

/** To a file, or to standard output where none is named. */
export async function writeArchive(cli: Cli, archive: Readable, output: string | undefined): Promise<void> {
  if (!output) {
    for await (const piece of archive) await cli.out.bytes(piece as Buffer, 'stdout');
    return;
  }
  // What is there under the name is whole, also when the cluster goes away half way.
  const unfinished = `${output}.unfinished`;
  try {
    await pipeline(archive, createWriteStream(unfinished, { mode: 0o600 }), { signal: cli.signal });
    await rename(unfinished, output);
  } catch (error) {
    await rm(unfinished, { force: true });
    cli.signal.throwIfAborted();
    throw new CliError(`${output}: ${(error as Error).message}`);
  }
}
