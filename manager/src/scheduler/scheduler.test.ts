import { silentLogger } from '@tessera/shared/env';
import { Placement } from '@tessera/shared/model';
import { aNodeStatus, aTaskStatus, FakeClock, settle } from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { runLoop } from '../loops/leader-loop.js';
import type { MemoryStore } from '../store/testing/index.js';
import { schedulerLoop } from './scheduler.js';
import { openScheduling, putPending, reserving } from './testing/index.js';

let ending = new AbortController();
afterEach(() => {
  ending.abort();
  ending = new AbortController();
});

async function schedule(store: MemoryStore): Promise<FakeClock> {
  const clock = new FakeClock();
  runLoop(schedulerLoop(store, clock), { store, clock, logger: silentLogger, signal: ending.signal });
  await settle();
  return clock;
}

const taskOf = (store: MemoryStore, id: string) => store.view().tasks.get(id)!;

test('a pending task is assigned, with the time of it', async () => {
  const store = await openScheduling({ a: {} });
  await putPending(store, 's1', 1);

  const clock = await schedule(store);

  expect(taskOf(store, 's1-1')).toMatchObject({
    state: 'assigned',
    nodeId: 'a',
    pendingReason: '',
    assignedAtMs: clock.now(),
  });
});

test('a task that finds no node says why', async () => {
  const store = await openScheduling({ a: { state: 'down' } });
  await putPending(store, 's1', 1);

  await schedule(store);

  expect(taskOf(store, 's1-1')).toMatchObject({
    state: 'pending',
    nodeId: '',
    pendingReason: 'no suitable node (1 node not available for new tasks)',
  });
});

test('a pending task is looked at again when a node becomes ready', async () => {
  const store = await openScheduling({ a: { state: 'down' } });
  await putPending(store, 's1', 1);
  await schedule(store);

  await store.update((tx) => tx.put('nodeStatuses', aNodeStatus({ nodeId: 'a' })));
  await settle();

  expect(taskOf(store, 's1-1').nodeId).toBe('a');
});

test('a pending task is looked at again when a label makes a constraint true', async () => {
  const store = await openScheduling({ a: {} });
  await putPending(store, 's1', 1, {
    placement: Placement.fromPartial({ constraints: ['node.labels.disk==ssd'] }),
  });
  await schedule(store);
  expect(taskOf(store, 's1-1').nodeId).toBe('');

  await store.update((tx) => tx.put('nodes', { ...tx.nodes.get('a')!, labels: { disk: 'ssd' } }));
  await settle();

  expect(taskOf(store, 's1-1').nodeId).toBe('a');
});

test('a pending task is looked at again when another one ends, and when one is deleted', async () => {
  const store = await openScheduling({ a: { nanoCpus: 2e9 } });
  await putPending(store, 'old', 2, reserving(1e9), { state: 'assigned', nodeId: 'a' });
  await putPending(store, 's1', 2, reserving(1e9));
  await schedule(store);
  expect([taskOf(store, 's1-1').nodeId, taskOf(store, 's1-2').nodeId]).toEqual(['', '']);

  await store.update((tx) =>
    tx.put('taskStatuses', aTaskStatus({ taskId: 'old-1', state: 'complete', nodeId: 'a' })),
  );
  await settle();
  expect([taskOf(store, 's1-1').nodeId, taskOf(store, 's1-2').nodeId]).toEqual(['a', '']);

  await store.update((tx) => tx.delete('tasks', 'old-2'));
  await settle();
  expect(taskOf(store, 's1-2').nodeId).toBe('a');
});

test('a node lost while the task was on its way to the store does not get it', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  await putPending(store, 's1', 1);
  // The very next transaction, ahead of the scheduler's.
  const lost = store.update((tx) => tx.put('nodeStatuses', aNodeStatus({ nodeId: 'a', state: 'down' })));

  await schedule(store);
  await lost;

  expect(taskOf(store, 's1-1').nodeId).toBe('b');
});

test('a reason that keeps changing is written at most every five seconds, and the last one in the end', async () => {
  const store = await openScheduling({ a: { state: 'down' }, b: { state: 'down' } });
  await putPending(store, 's1', 1, reserving(9e9));
  const clock = await schedule(store);
  const reasons: string[] = [];
  store.subscribe(() => {
    const { pendingReason } = taskOf(store, 's1-1');
    if (reasons.at(-1) !== pendingReason) reasons.push(pendingReason);
  });

  for (const state of ['ready', 'down', 'ready', 'down', 'ready'] as const) {
    await store.update((tx) => tx.put('nodeStatuses', { ...tx.nodeStatuses.get('a')!, state }));
    await settle();
    await clock.advanceAsync(200);
  }
  await clock.advanceAsync(5_000);

  expect(reasons).toEqual([
    'no suitable node (2 nodes not available for new tasks)',
    'no suitable node (1 node not available for new tasks; insufficient resources on 1 node)',
  ]);
});
