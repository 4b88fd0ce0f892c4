import type { ServiceJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { awaitConverged } from './converge.js';
import { updateService } from './update.js';

export const rollback: Verb = (noun, cli) => {
  noun
    .command('rollback')
    .description('Go back to the spec before the last update')
    .argument('<service>', 'name or id')
    .option('-d, --detach', 'do not wait until its tasks run', false)
    .option('-q, --quiet', 'no progress', false)
    .action(async (name: string, flags: { detach: boolean; quiet: boolean }) => {
      const service = await cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
      await updateService(cli, service, service.Spec, true);
      cli.out.line(name);
      if (!flags.detach) await awaitConverged(cli, service.ID, name, { quiet: flags.quiet });
    });
};
