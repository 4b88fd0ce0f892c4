import type { NetworkJson } from '@tessera/shared/docker-api';
import type { Cli, Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';
import { findService } from './find-service.js';
import { prettyService } from './pretty.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show services in full')
    .argument('<service...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .option('--pretty', 'in a form for people')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(
        cli,
        names,
        flags,
        (name) => findService(cli, name),
        async (service) => prettyService(service, await networkNames(cli), cli.clock.now()),
      ),
    );
};

async function networkNames(cli: Cli): Promise<ReadonlyMap<string, string>> {
  const networks = await cli.api.get<NetworkJson[]>('/networks');
  return new Map(networks.map(({ Id, Name }) => [Id, Name]));
}
