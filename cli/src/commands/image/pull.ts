import type { ProgressJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { registryAuth } from '../../client/docker-credentials.js';
import { jsonLines } from '../../client/log-frames.js';
import { showProgress } from '../../output/layer-progress.js';

export const pull: Verb = (noun, cli) => {
  noun
    .command('pull')
    .description('Pull an image from a registry into the cluster')
    .argument('<image>', 'NAME[:TAG] or NAME@sha256:DIGEST')
    .option('--platform <platform>', 'OS/ARCH[/VARIANT], where the registry has it for several')
    .option('-q, --quiet', 'no progress', false)
    .action(async (image: string, flags: { platform?: string; quiet: boolean }) => {
      const isPinned = image.includes('@') || /:[^/]*$/.test(image);
      const response = await cli.api.stream('POST', '/images/create', {
        query: { fromImage: image, tag: isPinned ? undefined : 'latest', platform: flags.platform },
        registryAuth: await registryAuth(cli.config, image),
      });
      const messages = jsonLines<ProgressJson>(response);
      await showProgress(cli.out, flags.quiet ? onlyErrors(messages) : messages);
      if (flags.quiet) cli.out.line(image);
    });
};

export async function* onlyErrors(messages: AsyncIterable<ProgressJson>): AsyncGenerator<ProgressJson> {
  for await (const message of messages) if (message.error) yield message;
}
