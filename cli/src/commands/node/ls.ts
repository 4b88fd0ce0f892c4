import type { InfoJson, NodeJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList, type Row } from '../../output/list.js';
import { capitalized, nodeLabel } from '../../output/words.js';

const COLUMNS = [
  ['IDMark', 'ID'],
  ['Hostname', 'HOSTNAME'],
  ['Status', 'STATUS'],
  ['Availability', 'AVAILABILITY'],
  ['ManagerStatus', 'MANAGER STATUS'],
  ['EngineVersion', 'ENGINE VERSION'],
] as const;

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List nodes')
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, label, node.label, role, membership', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('-q, --quiet', 'only ids')
    .action(async (flags: { filter?: string[]; format?: string; quiet?: boolean }) => {
      const [nodes, info] = await Promise.all([
        cli.api.get<NodeJson[]>('/nodes', { filters: encodeFilters(parseFilterFlags(flags.filter)) }),
        cli.api.get<InfoJson>('/info'),
      ]);
      const rows = nodes
        .toSorted((a, b) => nodeLabel(a).localeCompare(nodeLabel(b), 'en', { numeric: true }))
        .map((node) => nodeRow(node, info.Swarm.NodeID));
      printList(cli.out, COLUMNS, 'ID', rows, flags);
    });
};

function nodeRow(node: NodeJson, selfId: string): Row {
  const isSelf = node.ID === selfId;
  const { ManagerStatus } = node;
  return {
    ID: node.ID,
    IDMark: isSelf ? `${node.ID} *` : node.ID,
    Self: String(isSelf),
    Hostname: node.Description.Hostname,
    Status: capitalized(node.Status.State),
    Availability: capitalized(node.Spec.Availability),
    ManagerStatus: ManagerStatus?.Leader ? 'Leader' : capitalized(ManagerStatus?.Reachability ?? ''),
    EngineVersion: node.Description.Engine.EngineVersion,
  };
}
