import { forEachName, type Verb } from '../../cli.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove volumes with their content')
    .argument('<volume...>', 'names, or NODE/NAME')
    .option('-f, --force', 'one that is not there is no failure; one whose node is away goes later', false)
    .action(async (names: string[], { force }: { force: boolean }) => {
      await forEachName(cli, names, async (name) => {
        await cli.api.delete(`/volumes/${encodeURIComponent(name)}`, { force: String(force) });
        cli.out.line(name);
      });
    });
};
