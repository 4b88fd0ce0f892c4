import { type Node, type NodeStatus, SpecVersion, type Task, type TaskSpec } from '@tessera/shared/model';
import { aNode, aNodeStatus, aTask, aTaskSpec, FakeClock } from '@tessera/shared/testing';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';

// A cluster to schedule on, for the scheduler's tests.

export interface NodeParts {
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
  readonly labels?: Record<string, string>;
  readonly availability?: Node['availability'];
  readonly state?: NodeStatus['state'];
  readonly architecture?: string;
  readonly images?: readonly string[];
}

export async function openScheduling(nodes: Record<string, NodeParts>): Promise<MemoryStore> {
  const store = await openMemoryStore(new FakeClock());
  await store.update((tx) => {
    for (const [id, parts] of Object.entries(nodes)) {
      const {
        nanoCpus = 4e9,
        memoryBytes = 2 ** 30,
        labels = {},
        availability = 'active',
        state = 'ready',
      } = parts;
      tx.put('nodes', aNode({ id, name: id, labels, availability }));
      const description = {
        ...aNodeStatus().description!,
        hostname: id,
        architecture: parts.architecture ?? 'x86_64',
        capacity: { nanoCpus, memoryBytes, pids: 1_000 },
      };
      tx.put(
        'nodeStatuses',
        aNodeStatus({ nodeId: id, state, description, imageDigests: [...(parts.images ?? [])] }),
      );
    }
  });
  return store;
}

/** Pending tasks of one service, in slots from 1, made from this template. */
export async function putPending(
  store: MemoryStore,
  serviceId: string,
  count: number,
  spec: Partial<TaskSpec> = {},
  task: Partial<Task> = {},
): Promise<Task[]> {
  await store.update((tx) => {
    tx.put('specs', SpecVersion.fromPartial({ serviceId, version: 1, task: aTaskSpec(spec) as never }));
    for (let slot = 1; slot <= count; slot++) {
      tx.put('tasks', aTask({ id: `${serviceId}-${slot}`, serviceId, slot, state: 'pending', ...task }));
    }
  });
  return [...store.view().tasks.byService(serviceId)];
}

export const reserving = (nanoCpus: number, memoryBytes = 0): Partial<TaskSpec> => ({
  resources: { limits: undefined, reservations: { nanoCpus, memoryBytes, pids: 0 } },
});
