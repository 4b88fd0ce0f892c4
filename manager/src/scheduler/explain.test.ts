import { expect, test } from 'vitest';
import { explain } from './explain.js';
import { openScheduling, putPending, reserving } from './testing/index.js';

test('every node is explained: who refused it, or how good it is', async () => {
  const store = await openScheduling({ a: {}, b: { nanoCpus: 1e9 }, c: { availability: 'drain' } });
  await putPending(store, 'other', 2, {}, { state: 'assigned', nodeId: 'a' });
  const [task] = await putPending(store, 's1', 1, reserving(2e9));

  const { nodes, summary } = explain(store.view(), task!, 0);

  expect(nodes).toEqual([
    { nodeId: 'a', score: { unmet: 0, failing: 0, serviceTasks: 0, tasks: 2, imageMissing: 1 } },
    { nodeId: 'b', refusedBy: 'resources', reason: 'insufficient resources on 1 node' },
    { nodeId: 'c', refusedBy: 'ready', reason: '1 node not available for new tasks' },
  ]);
  expect(summary).toBe('');
});

test('where no node is left the summary is what the task says it waits for', async () => {
  const store = await openScheduling({ a: { nanoCpus: 1e9 }, b: { nanoCpus: 1e9 } });
  const [task] = await putPending(store, 's1', 1, reserving(2e9));

  expect(explain(store.view(), task!, 0).summary).toBe(
    'no suitable node (insufficient resources on 2 nodes)',
  );
});
