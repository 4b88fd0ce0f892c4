import type { VolumeListJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList } from '../../output/list.js';

const COLUMNS = [
  ['Driver', 'DRIVER'],
  ['Name', 'VOLUME NAME'],
  ['Node', 'NODE'],
] as const;

interface Flags {
  readonly filter?: string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List volumes')
    .option('-f, --filter <filter>', 'KEY=VALUE: name, label, dangling, driver, node', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('-q, --quiet', 'only names')
    .action(async (flags: Flags) => {
      const filters = encodeFilters(parseFilterFlags(flags.filter));
      const { Volumes } = await cli.api.get<VolumeListJson>('/volumes', { filters });
      const rows = (Volumes ?? []).map((volume) => ({
        Driver: volume.Driver,
        Name: volume.Name,
        // Empty until a container has used it.
        Node: volume.Status?.Node ?? '',
        Scope: volume.Scope,
        Mountpoint: volume.Mountpoint,
        Labels: Object.entries(volume.Labels ?? {})
          .map((entry) => entry.join('='))
          .join(','),
      }));
      printList(cli.out, COLUMNS, 'Name', rows, flags);
    });
};
