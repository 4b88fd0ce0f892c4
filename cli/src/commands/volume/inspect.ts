import type { VolumeJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show volumes in full')
    .argument('<volume...>', 'names, or NODE/NAME')
    .option('-f, --format <template>', 'json, or a Go template')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(cli, names, flags, (name) =>
        cli.api.get<VolumeJson>(`/volumes/${encodeURIComponent(name)}`),
      ),
    );
};
