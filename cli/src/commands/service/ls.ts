import type { ServiceJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList, type Row } from '../../output/list.js';
import { shortId, withoutDigest } from '../../output/words.js';

const COLUMNS = [
  ['ID', 'ID'],
  ['Name', 'NAME'],
  ['Mode', 'MODE'],
  ['Replicas', 'REPLICAS'],
  ['Image', 'IMAGE'],
  ['Ports', 'PORTS'],
] as const;

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List services')
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, label, mode', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('-q, --quiet', 'only ids')
    .action(async (flags: { filter?: string[]; format?: string; quiet?: boolean }) => {
      const services = await cli.api.get<ServiceJson[]>('/services', {
        filters: encodeFilters(parseFilterFlags(flags.filter)),
        status: true,
      });
      const rows = services
        .toSorted((a, b) => (a.Spec.Name ?? '').localeCompare(b.Spec.Name ?? '', 'en', { numeric: true }))
        .map((service) => serviceRow(service, flags.quiet ?? false));
      printList(cli.out, COLUMNS, 'ID', rows, flags);
    });
};

function serviceRow({ ID, Spec, ServiceStatus }: ServiceJson, full: boolean): Row {
  const max = Spec.TaskTemplate?.Placement?.MaxReplicas ?? 0;
  return {
    ID: full ? ID : shortId(ID),
    Name: Spec.Name ?? '',
    Mode: Spec.Mode?.Global ? 'global' : 'replicated',
    Replicas: `${ServiceStatus?.RunningTasks ?? 0}/${ServiceStatus?.DesiredTasks ?? 0}${max > 0 ? ` (max ${max} per node)` : ''}`,
    Image: withoutDigest(Spec.TaskTemplate?.ContainerSpec?.Image ?? ''),
    Ports: '',
  };
}
