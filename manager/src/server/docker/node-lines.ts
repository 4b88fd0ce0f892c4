import { binarySize } from '@tessera/shared/units';
import { nodeName } from '../../controlapi/index.js';
import { NodeSet } from '../../scheduler/index.js';
import type { View } from '../../store/view.js';

/**
 * The nodes of the engine for `docker info`, which shows such pairs below the storage driver: how many there are, then
 * a line for each, in the order of their names. The stand-alone Swarm told of its nodes there as well.
 */
export function nodeLines(view: View): [string, string][] {
  const set = new NodeSet(view);
  const lines = set.entries().map((entry): [string, string] => {
    const { node, status } = entry;
    const capacity = status?.description?.capacity;
    const [nanoCpus, memoryBytes] = [capacity?.nanoCpus ?? 0, capacity?.memoryBytes ?? 0];
    const reserved = [
      `${cpus(nanoCpus - set.freeNanoCpus(entry))} of ${cpus(nanoCpus)} CPUs`,
      `${binarySize(memoryBytes - set.freeMemoryBytes(entry))} of ${binarySize(memoryBytes)} reserved`,
    ];
    const facts = [
      status?.addr || 'no address yet',
      `${node.role}, ${status?.state ?? 'unknown'}, ${node.availability}`,
      count(set.taskCount(entry)),
      reserved.join(' and '),
    ];
    return [` ${nodeName(view, node)}`, facts.join('; ')];
  });
  return [['Nodes', String(lines.length)], ...lines.sort(([a], [b]) => (a < b ? -1 : 1))];
}

const count = (containers: number) => `${containers} container${containers === 1 ? '' : 's'}`;
const cpus = (nanoCpus: number) => String(Number((nanoCpus / 1e9).toFixed(2)));
