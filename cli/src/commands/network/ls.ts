import type { NetworkJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList } from '../../output/list.js';
import { shortId } from '../../output/words.js';

const COLUMNS = [
  ['ID', 'NETWORK ID'],
  ['Name', 'NAME'],
  ['Driver', 'DRIVER'],
  ['Scope', 'SCOPE'],
] as const;

interface Flags {
  readonly filter?: string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List networks')
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, label, driver, dangling', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten ids')
    .option('-q, --quiet', 'only ids')
    .action(async (flags: Flags) => {
      const filters = encodeFilters(parseFilterFlags(flags.filter));
      const networks = await cli.api.get<NetworkJson[]>('/networks', { filters });
      const rows = networks
        .toSorted((a, b) => a.Name.localeCompare(b.Name, 'en', { numeric: true }))
        .map((network) => ({
          ID: flags.trunc ? shortId(network.Id) : network.Id,
          Name: network.Name,
          Driver: network.Driver,
          Scope: network.Scope,
          CreatedAt: network.Created,
          Internal: String(network.Internal),
        }));
      printList(cli.out, COLUMNS, 'ID', rows, flags);
    });
};
