import { forEachName, type Verb } from '../../cli.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove networks')
    .argument('<network...>', 'names or ids')
    .action(async (names: string[]) => {
      await forEachName(cli, names, async (name) => {
        await cli.api.delete(`/networks/${encodeURIComponent(name)}`);
        cli.out.line(name);
      });
    });
};
