// npm run bench -- schedule: placements per second of the scheduler's pure core, in one process and without a
// store to write to, on thousands of nodes that are half full.
import { type Metric, median, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { Node, NodeStatus, SpecVersion, Task, TaskSpec } from '@tessera/shared/model';
import { FakeClock } from '@tessera/shared/testing';
import { NodeSet } from '../scheduler/node-set.js';
import { planPlacements } from '../scheduler/place.js';
import type { Store, View } from '../store/index.js';
import { openMemoryStore } from '../store/testing/index.js';

const ROUNDS = 7;
const GROUP = 1_000;
const SINGLES = 200;
const WRITES_AT_ONCE = 50;

const spec = (constraints: readonly string[] = []) =>
  TaskSpec.fromPartial({
    container: { image: 'docker.io/library/busybox:latest' },
    resources: { reservations: { nanoCpus: 1e7, memoryBytes: 2 ** 20 } },
    placement: { constraints: [...constraints] },
  });

/** A cluster with five tasks of fifty services on every node. */
async function openCluster(nodeCount: number): Promise<Store> {
  const store = await openMemoryStore(new FakeClock());
  const nodeIds = Array.from({ length: nodeCount }, (_, index) => `node-${String(index).padStart(5, '0')}`);
  await inPieces(nodeIds, store, (tx, id, index) => {
    tx.put('nodes', Node.fromPartial({ id, name: id, labels: { zone: `z${index % 10}` } }));
    const capacity = { nanoCpus: 64e9, memoryBytes: 256 * 2 ** 30, pids: 100_000 };
    const description = { hostname: id, os: 'linux', architecture: 'x86_64', capacity };
    tx.put('nodeStatuses', NodeStatus.fromPartial({ nodeId: id, state: 'ready', description }));
  });
  const services = Array.from({ length: 51 }, (_, index) => `service-${index}`);
  await inPieces(services, store, (tx, serviceId) => {
    const task = serviceId === 'service-50' ? spec(['node.labels.zone == z3']) : spec();
    tx.put('specs', SpecVersion.fromPartial({ serviceId, version: 1, task }));
  });
  const tasks = nodeIds.flatMap((nodeId) => Array.from({ length: 5 }, (_, index) => ({ nodeId, index })));
  await inPieces(tasks, store, (tx, { nodeId, index }, number) => {
    const serviceId = `service-${number % 50}`;
    const task = { id: `${nodeId}-${index}`, serviceId, slot: number, nodeId, specVersion: 1 };
    tx.put('tasks', Task.fromPartial({ ...task, state: 'assigned', desiredState: 'running' }));
  });
  return store;
}

async function inPieces<T>(
  items: readonly T[],
  store: Store,
  put: (tx: Parameters<Parameters<Store['update']>[0]>[0], item: T, index: number) => void,
): Promise<void> {
  for (let done = 0; done < items.length; done += WRITES_AT_ONCE) {
    await store.update((tx) => {
      for (const [index, item] of items.slice(done, done + WRITES_AT_ONCE).entries())
        put(tx, item, done + index);
    });
  }
}

const pending = (serviceId: string, slot: number): Task =>
  Task.fromPartial({
    id: `new-${serviceId}-${slot}`,
    serviceId,
    slot,
    specVersion: 1,
    state: 'pending',
    desiredState: 'running',
  });

/** Placements per second when `group` tasks of one service are decided on together. */
function measure(view: View, serviceId: string, group: number, repeats: number): number {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const nodes = new NodeSet(view);
    const startMs = systemClock.monotonic();
    for (let repeat = 0; repeat < repeats; repeat++) {
      const tasks = Array.from({ length: group }, (_, index) =>
        pending(serviceId, 100_000 + repeat * group + index),
      );
      const placed = planPlacements(tasks, { nodes, view, nowMs: 0 });
      if (placed.some(({ nodeId }) => nodeId === undefined)) throw new Error('a task found no node');
    }
    rates.push((group * repeats * 1_000) / (systemClock.monotonic() - startMs));
  }
  return median(rates);
}

const metrics: Metric[] = [];
for (const nodeCount of [1_000, 5_000]) {
  const view = (await openCluster(nodeCount)).view();
  const on = `on ${nodeCount} nodes`;
  const rate = (name: string, ours: number): Metric => ({ name: `${name} ${on}`, unit: 'tasks/s', ours });
  metrics.push(rate(`${GROUP} tasks at once`, measure(view, 'service-0', GROUP, 1)));
  metrics.push(rate(`${GROUP} tasks with a constraint`, measure(view, 'service-50', GROUP, 1)));
  metrics.push(rate('one task at a time', measure(view, 'service-0', 1, SINGLES)));
}
printReport('schedule', metrics, {
  json: process.argv.includes('--json'),
  notes: [
    'Decisions alone: filters, scores and reservations, with nothing written. For comparison, the floors that',
    'Kubernetes sets its scheduler in CI are 680 to 1,100 pods/s, with writes to its store.',
  ],
});
