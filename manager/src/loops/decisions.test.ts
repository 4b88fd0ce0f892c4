import { silentLogger } from '@tessera/shared/env';
import { Cluster, Network } from '@tessera/shared/model';
import { aContainer, aNode, aNodeStatus, FakeClock, SeededRandom, settle } from '@tessera/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openMemoryStore } from '../store/testing/index.js';
import { startLoops } from './start.js';

const GIB = 2 ** 30;
let ended: AbortController;
beforeEach(() => {
  ended = new AbortController();
});
afterEach(() => ended.abort());

async function leading() {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    tx.put('cluster', Cluster.fromPartial({ id: 'cluster-1', incarnation: 1, spec: {} }));
    tx.put('nodes', aNode({ id: 'node-1' }));
    const description = { capacity: { nanoCpus: 2e9, memoryBytes: 4 * GIB, pids: 1_000 } } as never;
    tx.put('nodeStatuses', aNodeStatus({ nodeId: 'node-1', description }));
    tx.put('networks', Network.fromPartial({ id: 'n1', spec: { name: 'shop', driver: 'overlay' } }));
  });
  const loops = await startLoops(store, clock, new SeededRandom(1), silentLogger, ended.signal);
  await loops.idle();
  const create = (id: string, part: Parameters<typeof aContainer>[0] = {}) =>
    loops.decisions.createPlaced(id, (tx) => tx.put('containers', aContainer({ id, ...part })));
  return { store, loops, create };
}

const reserving = (memoryBytes: number) => ({
  host: { resources: { memoryReservationBytes: memoryBytes } } as never,
});

test('a container is made, given its addresses and its node in one revision, and the loops have nothing to add', async () => {
  const { store, loops, create } = await leading();
  const before = store.view().revision;

  await create('c1', { networks: [{ networkId: 'n1', aliases: [] }] });

  const placement = store.view().containerPlacements.get('c1');
  expect(placement).toMatchObject({ nodeId: 'node-1', networks: [{ networkId: 'n1' }] });
  const address = placement!.networks[0]!.addr.split('/')[0];
  expect(store.view().claim(`ip/n1/${address}`)).toBe('container/c1');
  await loops.idle();
  await settle();
  expect(store.view().revision).toBe(before + 1);
  expect(store.view().containerPlacements.get('c1')).toEqual(placement);
});

test('one that fits nowhere leaves nothing, and takes nothing of any node', async () => {
  const { store, create } = await leading();
  const before = store.view().revision;

  await expect(create('c1', reserving(5 * GIB))).rejects.toMatchObject({
    kind: 'conflict',
    message: 'no suitable node (insufficient resources on 1 node)',
  });

  expect(store.view().revision).toBe(before);
  await create('c2', reserving(4 * GIB));
  expect(store.view().containerPlacements.get('c2')?.nodeId).toBe('node-1');
});

test('of those that are made at once no two are given the same memory, nor the same address', async () => {
  const { store, create } = await leading();

  const made = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) =>
      create(`c${index}`, { ...reserving(GIB), networks: [{ networkId: 'n1', aliases: [] }] }),
    ),
  );

  expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
  const placements = [...store.view().containerPlacements.all()];
  expect(placements).toHaveLength(4);
  expect(new Set(placements.map(({ networks }) => networks[0]!.addr)).size).toBe(4);
});

test('what the one who makes it throws is what comes back, and the place is free again', async () => {
  const { store, loops, create } = await leading();

  await expect(
    loops.decisions.createPlaced('c1', (tx) => {
      tx.put('containers', aContainer({ id: 'c1', ...reserving(4 * GIB) }));
      throw new Error('not after all');
    }),
  ).rejects.toThrow('not after all');

  await create('c2', reserving(4 * GIB));
  expect(store.view().containerPlacements.get('c2')?.nodeId).toBe('node-1');
});

test('one whose network has yet to be allocated is left to the loops', async () => {
  const { store, loops, create } = await leading();
  await Promise.all([
    store.update((tx) =>
      tx.put('networks', Network.fromPartial({ id: 'n2', spec: { name: 'later', driver: 'overlay' } })),
    ),
    create('c1', { networks: [{ networkId: 'n2', aliases: [] }] }),
  ]);
  await loops.idle();
  await settle();
  await loops.idle();

  expect(store.view().containerPlacements.get('c1')).toMatchObject({
    nodeId: 'node-1',
    networks: [{ networkId: 'n2' }],
  });
});
