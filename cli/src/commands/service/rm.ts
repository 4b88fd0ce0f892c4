import { forEachName, type Verb } from '../../cli.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove services')
    .argument('<service...>', 'names or ids')
    .action(async (names: string[]) => {
      await forEachName(cli, names, async (name) => {
        await cli.api.delete(`/services/${encodeURIComponent(name)}`);
        cli.out.line(name);
      });
    });
};
