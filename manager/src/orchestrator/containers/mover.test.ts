import { silentLogger } from '@tessera/shared/env';
import type { NodeStatus } from '@tessera/shared/model';
import {
  aContainer,
  aContainerPlacement,
  aContainerState,
  aNode,
  aNodeStatus,
  FakeClock,
  settle,
} from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { runLoop } from '../../loops/leader-loop.js';
import { schedulerLoop } from '../../scheduler/index.js';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';
import { containerMoverLoop } from './mover.js';

let ending = new AbortController();
afterEach(() => {
  ending.abort();
  ending = new AbortController();
});

/** Containers on node-1, the mover and the scheduler over them. */
async function aCluster(nodeCount: number, containers: Parameters<typeof aContainer>[0][]) {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    for (let index = 1; index <= nodeCount; index++) {
      tx.put('nodes', aNode({ id: `node-${index}` }));
      tx.put('nodeStatuses', aNodeStatus({ nodeId: `node-${index}` }));
    }
    containers.forEach((part, index) => {
      const id = `c${index + 1}`;
      const networks = [{ networkId: 'n1', addr: `10.0.0.${index + 2}/24`, mac: '', aliases: [] }];
      tx.put(
        'containers',
        aContainer({ id, name: id, networks: [{ networkId: 'n1', aliases: [] }], ...part }),
      );
      tx.put('containerPlacements', aContainerPlacement({ containerId: id, networks }));
      tx.put(
        'containerStates',
        aContainerState({ containerId: id, state: 'running', starts: 1, generation: 2 }),
      );
    });
  });
  const environment = { store, clock, logger: silentLogger, signal: ending.signal };
  runLoop(containerMoverLoop(store, clock), environment);
  runLoop(schedulerLoop(store, clock), environment);
  await settle();
  return { clock, store };
}

const set = async (store: MemoryStore, nodeId: string, state: NodeStatus['state'], stateSinceMs = 0) => {
  await store.update((tx) =>
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get(nodeId)!, state, stateSinceMs }),
  );
  await settle();
};
const placement = (store: MemoryStore, id = 'c1') => store.view().containerPlacements.get(id);
const MOVES = { rescheduleOnNodeFailure: true };

test('one that may move does so when its node is lost, with its addresses, in a new epoch; others stay', async () => {
  const { store } = await aCluster(2, [MOVES, {}]);

  await set(store, 'node-1', 'down');

  expect(placement(store)).toMatchObject({
    nodeId: 'node-2',
    epoch: 2,
    moving: false,
    networks: [{ addr: '10.0.0.2/24' }],
    former: { state: 'running', starts: 1, generation: 2, epoch: 1 },
  });
  expect(placement(store, 'c2')).toMatchObject({ nodeId: 'node-1', epoch: 1, moving: false });
});

test('a node that is only unheard for a moment keeps what it has', async () => {
  const { store } = await aCluster(2, [MOVES]);

  await set(store, 'node-1', 'disconnected');

  expect(placement(store)).toMatchObject({ nodeId: 'node-1', epoch: 1, moving: false });
});

test('where there is no other node it stays, says why, and has its own back when that returns', async () => {
  const { store } = await aCluster(1, [MOVES]);

  await set(store, 'node-1', 'down');
  expect(placement(store)).toMatchObject({
    nodeId: 'node-1',
    moving: true,
    pendingReason: 'no suitable node (1 node not available for new tasks)',
  });

  await set(store, 'node-1', 'ready');
  expect(placement(store)).toMatchObject({ nodeId: 'node-1', epoch: 1, moving: false, pendingReason: '' });
});

test('one that waits for another node goes to the first that there is', async () => {
  const { store } = await aCluster(1, [MOVES]);
  await set(store, 'node-1', 'down');

  await store.update((tx) => {
    tx.put('nodes', aNode({ id: 'node-2' }));
    tx.put('nodeStatuses', aNodeStatus({ nodeId: 'node-2' }));
  });
  await settle();

  expect(placement(store)).toMatchObject({ nodeId: 'node-2', epoch: 2, moving: false, pendingReason: '' });
});

test('one whose node has left the cluster moves too; one that is being removed does not', async () => {
  const { store } = await aCluster(2, [MOVES, { ...MOVES, removing: true }]);

  await store.update((tx) => {
    tx.delete('nodes', 'node-1');
    tx.delete('nodeStatuses', 'node-1');
  });
  await settle();

  expect(placement(store)?.nodeId).toBe('node-2');
  expect(placement(store, 'c2')?.nodeId).toBe('node-1');
});

test('when many nodes fall silent together, their containers are moved one node per grace time', async () => {
  const { store, clock } = await aCluster(4, [MOVES]);
  const nowMs = clock.now();
  await store.update((tx) => {
    for (const nodeId of ['node-2', 'node-3', 'node-1'])
      tx.put('nodeStatuses', {
        ...tx.nodeStatuses.get(nodeId)!,
        state: 'down',
        stateSinceMs: nodeId === 'node-1' ? nowMs + 2 : nowMs,
      });
  });
  await settle();
  expect(placement(store)?.nodeId).toBe('node-1');

  await clock.advanceAsync(60_000);

  expect(placement(store)?.nodeId).toBe('node-4');
});
