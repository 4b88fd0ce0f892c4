import { forEachName, type Verb } from '../../cli.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove nodes from the cluster')
    .argument('<node...>', 'ids or names')
    .option('-f, --force', 'even if it is not down', false)
    .action(async (names: string[], { force }: { force: boolean }) => {
      await forEachName(cli, names, async (name) => {
        await cli.api.delete(`/nodes/${encodeURIComponent(name)}`, { force: force ? 1 : undefined });
        cli.out.line(name);
      });
    });
};
