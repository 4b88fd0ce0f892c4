import { aNode, aNodeStatus, aTask, aTaskStatus } from '@tessera/shared/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NodeSet } from './node-set.js';
import { openScheduling, putPending, reserving } from './testing/index.js';

type Step =
  | { kind: 'assign' | 'end' | 'retire' | 'delete'; task: number; node: number }
  | { kind: 'add' | 'remove'; task: number; node: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('assign', 'assign', 'end', 'retire', 'delete', 'add', 'remove'),
  task: fc.integer({ min: 1, max: 6 }),
  node: fc.integer({ min: 1, max: 4 }),
}) as fc.Arbitrary<Step>;

test('a set kept up change by change is the set made anew', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const store = await openScheduling({ 'n-1': {}, 'n-2': {} });
      await putPending(store, 's1', 0, reserving(100, 10));
      const kept = new NodeSet(store.view());
      store.subscribe((changes, view) => {
        for (const change of changes) kept.apply(change, view, 0);
      });

      for (const { kind, task: taskNumber, node } of steps) {
        const id = `t-${taskNumber}`;
        const nodeId = `n-${node}`;
        await store.update((tx) => {
          const task = tx.tasks.get(id);
          if (kind === 'assign' && !task)
            tx.put('tasks', aTask({ id, serviceId: 's1', nodeId, state: 'assigned' }));
          else if (kind === 'end' && task)
            tx.put('taskStatuses', aTaskStatus({ taskId: id, state: 'failed', nodeId: task.nodeId }));
          else if (kind === 'retire' && task) tx.put('tasks', { ...task, desiredState: 'shutdown' });
          else if (kind === 'delete' && task) {
            tx.delete('tasks', id);
            tx.delete('taskStatuses', id);
          } else if (kind === 'add') {
            tx.put('nodes', aNode({ id: nodeId }));
            tx.put('nodeStatuses', aNodeStatus({ nodeId }));
          } else if (kind === 'remove') {
            tx.delete('nodes', nodeId);
            tx.delete('nodeStatuses', nodeId);
          }
        });
      }

      expect(picture(kept)).toEqual(picture(new NodeSet(store.view())));
    }),
    { numRuns: 60 },
  );
});

function picture(set: NodeSet) {
  return set.entries().map((entry) => ({
    id: entry.node.id,
    cpus: set.freeNanoCpus(entry),
    memory: set.freeMemoryBytes(entry),
    tasks: set.taskCount(entry),
    ofService: set.taskCountOf('s1', entry),
  }));
}
