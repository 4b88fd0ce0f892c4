import type { Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';

export const update: Verb = (noun, cli) => {
  noun
    .command('update')
    .description('Change what the cluster as a whole allows')
    .option('--api-socket <who>', 'whose containers may mount the API: managers, or nobody')
    .action(async ({ apiSocket }: { apiSocket?: string }) => {
      if (apiSocket === undefined) throw new CliError('nothing to change: give --api-socket', EXIT_USAGE);
      await cli.api.post('/tessera/v1/cluster/update', { apiSocket });
    });
};
