import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';

export const save: Verb = (noun, cli) => {
  noun
    .command('save')
    .description('Save images to an archive that "image load" and docker load take')
    .argument('<image...>', 'names or ids')
    .option('-o, --output <file>', 'where to; standard output when it is not given')
    .action(async (images: string[], { output }: { output?: string }) => {
      if (!output && cli.out.isTty)
        throw new CliError(
          'refusing to write an archive to a terminal: use -o FILE, or send it on: tsctl image save app > app.tar',
          EXIT_USAGE,
        );
      const response = await cli.api.stream('GET', '/images/get', { query: { names: images } });
      if (!output) {
        for await (const piece of response) await cli.out.bytes(piece as Buffer, 'stdout');
        return;
      }
      // What is there under the name is whole, also when the cluster goes away half way.
      const unfinished = `${output}.unfinished`;
      try {
        await pipeline(response, createWriteStream(unfinished, { mode: 0o600 }), { signal: cli.signal });
        await rename(unfinished, output);
      } catch (error) {
        await rm(unfinished, { force: true });
        cli.signal.throwIfAborted();
        throw new CliError(`${output}: ${(error as Error).message}`);
      }
    });
};
