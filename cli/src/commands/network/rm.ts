import { forEachName, type Verb } from '../../cli.js';
import { ApiError } from '../../cli-error.js';

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove networks')
    .argument('<network...>', 'names or ids')
    .option('-f, --force', 'one that is not there is no failure', false)
    .action(async (names: string[], { force }: { force: boolean }) => {
      await forEachName(cli, names, async (name) => {
        try {
          await cli.api.delete(`/networks/${encodeURIComponent(name)}`);
        } catch (error) {
          if (force && error instanceof ApiError && error.status === 404) return;
          throw error;
        }
        cli.out.line(name);
      });
    });
};
