import type { NetworkJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show networks in full')
    .argument('<network...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(cli, names, flags, (name) =>
        cli.api.get<NetworkJson>(`/networks/${encodeURIComponent(name)}`),
      ),
    );
};
