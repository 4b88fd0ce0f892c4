import type { ImageDeleteJson } from '@tessera/shared/docker-api';
import { forEachName, type Verb } from '../../cli.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove images from the cluster')
    .argument('<image...>', 'names or ids')
    .option('-f, --force', 'all names of an id; and though tasks that use it are still ending', false)
    .action(async (names: string[], { force }: { force: boolean }) => {
      await forEachName(cli, names, async (name) => {
        const query = { force: force ? 1 : undefined };
        const removals = await cli.api.delete<ImageDeleteJson[]>(`/images/${name}`, query);
        for (const { Untagged, Deleted } of removals) {
          cli.out.line(Untagged ? `Untagged: ${Untagged}` : `Deleted: ${Deleted}`);
        }
      });
    });
};
