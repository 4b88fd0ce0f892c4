import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';
import { timeAgo } from '@tessera/shared/units';
import type { Cli } from '../cli.js';
import { type ListStyle, printList, type Row } from './list.js';
import { capitalized, ellipsis, nodeLabel, shortId, withoutDigest } from './words.js';

const COLUMNS = [
  ['ID', 'ID'],
  ['Name', 'NAME'],
  ['Image', 'IMAGE'],
  ['Node', 'NODE'],
  ['DesiredState', 'DESIRED STATE'],
  ['CurrentState', 'CURRENT STATE'],
  ['Error', 'ERROR'],
  ['Ports', 'PORTS'],
] as const;
const ERROR_LENGTH_MAX = 30;

export interface TaskListFlags extends ListStyle {
  readonly trunc: boolean;
  readonly resolve: boolean;
}

/** Tasks as `service ps` and `node ps` show them: slots in order, each with its history below it, newest first. */
export async function printTasks(cli: Cli, tasks: readonly TaskJson[], flags: TaskListFlags): Promise<void> {
  const [nodes, services] = flags.resolve
    ? await Promise.all([cli.api.get<NodeJson[]>('/nodes'), cli.api.get<ServiceJson[]>('/services')])
    : [[], []];
  const nodeNames = new Map(nodes.map((node) => [node.ID, nodeLabel(node)]));
  const serviceNames = flags.resolve
    ? new Map(services.map(({ ID, Spec }) => [ID, Spec.Name ?? ID]))
    : undefined;
  const named = tasks
    .map((task) => ({ task, name: taskName(task, serviceNames) }))
    .sort(
      (a, b) =>
        a.name.localeCompare(b.name, 'en', { numeric: true }) ||
        b.task.CreatedAt.localeCompare(a.task.CreatedAt) ||
        // Made in the same millisecond: the one that is meant to run is the newer.
        Number(b.task.DesiredState === 'running') - Number(a.task.DesiredState === 'running'),
    );
  const nowMs = cli.clock.now();
  const rows = named.map(({ task, name }, index): Row => {
    const isPast = named[index - 1]?.name === name;
    const image = task.Spec.ContainerSpec?.Image ?? '';
    const error = task.Status.Err ?? '';
    return {
      ID: flags.trunc ? shortId(task.ID) : task.ID,
      Name: isPast && !flags.format ? ` \\_ ${name}` : name,
      Image: flags.trunc ? withoutDigest(image) : image,
      Node: nodeNames.get(task.NodeID ?? '') ?? task.NodeID ?? '',
      DesiredState: capitalized(task.DesiredState),
      CurrentState: `${capitalized(task.Status.State)} ${timeAgo(nowMs, Date.parse(task.Status.Timestamp))}`,
      Error: error === '' ? '' : `"${flags.trunc ? ellipsis(error, ERROR_LENGTH_MAX) : error}"`,
      Ports: '',
    };
  });
  printList(cli.out, COLUMNS, 'ID', rows, flags);
}

/**
 * `web.1`, or the node's id in place of the slot for a global service.
 *
 * @param serviceNames undefined: names are not to be resolved
 */
export function taskName(task: TaskJson, serviceNames: ReadonlyMap<string, string> | undefined): string {
  const place = task.Slot || task.NodeID || task.ID;
  const service = serviceNames?.get(task.ServiceID);
  if (service !== undefined) return `${service}.${place}`;
  // The server knows the name of a service that is no longer listed.
  return (serviceNames && task.Name) || `${task.ServiceID}.${place}`;
}
