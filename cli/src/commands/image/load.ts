import { createReadStream } from 'node:fs';
import type { ProgressJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';
import { jsonLines } from '../../client/log-frames.js';

export const load: Verb = (noun, cli) => {
  noun
    .command('load')
    .description('Load images from an archive into the cluster')
    .argument('[archive]', 'a tar file (docker save, or OCI layout; plain, gzip or zstd)')
    .option('-i, --input <file>', 'the same as the argument; standard input if neither is given')
    .option('-q, --quiet', 'no progress', false)
    .action(async (archive: string | undefined, flags: { input?: string; quiet: boolean }) => {
      const path = flags.input ?? archive;
      if (!path && process.stdin.isTTY) {
        throw new CliError('give an archive, or pipe one in: tsctl image load < busybox.tar', EXIT_USAGE);
      }
      const upload = path ? createReadStream(path, { highWaterMark: 1 << 18 }) : process.stdin;
      const response = await cli.api.stream('POST', '/images/load', {
        query: { quiet: flags.quiet ? 1 : 0 },
        upload,
      });
      for await (const { stream, error } of jsonLines<ProgressJson>(response)) {
        if (error) throw new CliError(error);
        if (stream) cli.out.text(stream);
      }
    });
};
