import { silentLogger } from '@tessera/shared/env';
import { aNode, aNodeStatus, aTask, aTaskStatus, FakeClock, settle } from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { runLoop } from '../../loops/leader-loop.js';
import { openMemoryStore } from '../../store/testing/index.js';
import { ORPHANED_AFTER_MS, orphansLoop } from './orphans.js';

let ending = new AbortController();
afterEach(() => {
  ending.abort();
  ending = new AbortController();
});

/** Two tasks on node-1, of which the second has ended. */
async function aCluster() {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    tx.put('nodes', aNode());
    tx.put('nodeStatuses', aNodeStatus());
    for (const id of ['t1', 't2']) tx.put('tasks', aTask({ id, nodeId: 'node-1', state: 'assigned' }));
    tx.put('taskStatuses', aTaskStatus({ taskId: 't1', state: 'running', nodeId: 'node-1' }));
    tx.put('taskStatuses', aTaskStatus({ taskId: 't2', state: 'complete', nodeId: 'node-1' }));
  });
  runLoop(orphansLoop(store, clock), { store, clock, logger: silentLogger, signal: ending.signal });
  await settle();
  const states = () => ['t1', 't2'].map((id) => store.view().tasks.get(id)?.state);
  const setNode = (state: 'ready' | 'down') =>
    store.update((tx) => tx.put('nodeStatuses', aNodeStatus({ state, stateSinceMs: clock.now() })));
  return { clock, store, states, setNode };
}

test('the tasks of a node that has been down for a day are given up, those that ended stay as they ended', async () => {
  const { clock, states, setNode } = await aCluster();
  await setNode('down');

  await clock.advanceAsync(ORPHANED_AFTER_MS - 1);
  expect(states()).toEqual(['assigned', 'assigned']);
  await clock.advanceAsync(1);
  expect(states()).toEqual(['orphaned', 'assigned']);
});

test('a node that comes back in time keeps its tasks', async () => {
  const { clock, states, setNode } = await aCluster();
  await setNode('down');
  await clock.advanceAsync(ORPHANED_AFTER_MS / 2);

  await setNode('ready');
  await clock.advanceAsync(ORPHANED_AFTER_MS);

  expect(states()).toEqual(['assigned', 'assigned']);
});

test('the tasks of a node that is removed are given up at once', async () => {
  const { store, states } = await aCluster();

  await store.update((tx) => {
    tx.delete('nodes', 'node-1');
    tx.delete('nodeStatuses', 'node-1');
  });
  await settle();

  expect(states()).toEqual(['orphaned', 'assigned']);
});
