import { createReadStream } from 'node:fs';
import type { ProgressJson } from '@tessera/shared/docker-api';
import { many, type Verb } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { jsonLines } from '../../client/log-frames.js';

interface Flags {
  readonly change?: string[];
  readonly message?: string;
  readonly platform?: string;
}

export const importImage: Verb = (noun, cli) => {
  noun
    .command('import')
    .description('Make an image of a tar of files')
    .argument('<file>', 'a tar, plain, gzip or zstd; - for standard input')
    .argument('[repository]', 'NAME[:TAG] to call it')
    .option('-c, --change <instruction>', 'a Dockerfile instruction to apply, such as CMD ["sh"]', many)
    .option('-m, --message <text>', 'a comment for its history')
    .option('--platform <platform>', 'OS/ARCH[/VARIANT], if it is for another than the hosts')
    .action(async (file: string, repository: string | undefined, flags: Flags) => {
      const upload = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: 1 << 18 });
      const { change: changes, message, platform } = flags;
      const response = await cli.api.stream('POST', '/images/create', {
        query: { fromSrc: '-', repo: repository, changes, message, platform },
        upload,
      });
      for await (const { status, error } of jsonLines<ProgressJson>(response)) {
        if (error) throw new CliError(error);
        if (status) cli.out.line(status);
      }
    });
};
