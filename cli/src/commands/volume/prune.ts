import type { VolumePruneJson } from '@tessera/shared/docker-api';
import { decimalSize } from '@tessera/shared/units';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';

interface Flags {
  readonly all: boolean;
  readonly filter?: string[];
}

export const prune: Verb = (noun, cli) => {
  noun
    .command('prune')
    .description('Remove the volumes that no container has and nobody has named')
    .option('-a, --all', 'those that have a name too', false)
    .option('--filter <filter>', 'KEY=VALUE: label, label!', many)
    .action(async ({ all, filter }: Flags) => {
      const asked = { ...parseFilterFlags(filter), ...(all ? { all: ['true'] } : {}) };
      const { VolumesDeleted, SpaceReclaimed } = await cli.api.post<VolumePruneJson>(
        '/volumes/prune',
        undefined,
        { filters: encodeFilters(asked) },
      );
      for (const name of VolumesDeleted ?? []) cli.out.line(name);
      cli.out.line(`Total reclaimed space: ${decimalSize(SpaceReclaimed)}`);
    });
};
