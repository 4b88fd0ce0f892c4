import type { ProgressJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { registryAuth } from '../../client/docker-credentials.js';
import { jsonLines } from '../../client/log-frames.js';
import { showProgress } from '../../output/layer-progress.js';
import { onlyErrors } from './pull.js';

export const push: Verb = (noun, cli) => {
  noun
    .command('push')
    .description('Push an image to the registry its name is of')
    .argument('<name>', 'NAME[:TAG]')
    .option('-a, --all-tags', 'all names of the repository', false)
    .option('-q, --quiet', 'no progress', false)
    .action(async (name: string, flags: { allTags: boolean; quiet: boolean }) => {
      const [, repository = name, tag] = /^(.*?)(?::([^/:]+))?$/.exec(name) ?? [];
      const response = await cli.api.stream('POST', `/images/${repository}/push`, {
        query: { tag: flags.allTags ? undefined : (tag ?? 'latest') },
        registryAuth: await registryAuth(cli.config, name),
      });
      const messages = jsonLines<ProgressJson>(response);
      await showProgress(cli.out, flags.quiet ? onlyErrors(messages) : messages);
      if (flags.quiet) cli.out.line(name);
    });
};
