import type { ImageDeleteJson } from '@tessera/shared/docker-api';
import { decimalSize } from '@tessera/shared/units';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';
import { encodeFilters } from '../../client/api-client.js';

interface Flags {
  readonly all?: boolean;
  readonly filter?: string[];
  readonly force?: boolean;
}
interface Pruned {
  readonly ImagesDeleted: readonly ImageDeleteJson[] | null;
  readonly SpaceReclaimed: number;
}

export const prune: Verb = (noun, cli) => {
  noun
    .command('prune')
    .description('Remove images that nothing uses')
    .option('-a, --all', 'also those that have a name')
    .option('--filter <filter>', 'KEY=VALUE: until, label, label!', many)
    .option('-f, --force', 'yes, remove them')
    .action(async ({ all, filter, force }: Flags) => {
      if (!force) throw new CliError('this removes images for good: give --force to say so', EXIT_USAGE);
      const filters = { dangling: [String(!all)], ...parseFilterFlags(filter) };
      const query = { filters: encodeFilters(filters) };
      const pruned = await cli.api.post<Pruned>('/images/prune', undefined, query);
      for (const { Untagged, Deleted } of pruned.ImagesDeleted ?? []) {
        cli.out.line(Untagged ? `Untagged: ${Untagged}` : `Deleted: ${Deleted}`);
      }
      cli.out.line(`Total reclaimed space: ${decimalSize(pruned.SpaceReclaimed)}`);
    });
};
