import { silentLogger } from '@tessera/shared/env';
import { Cluster, Network } from '@tessera/shared/model';
import { aContainer, aNode, FakeClock, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';

import { runLoop } from '../loops/leader-loop.js';
import { containerReaperLoop } from '../orchestrator/index.js';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import { AddressBook } from './address-book.js';
import { allocatorLoop } from './allocator.js';
import { allocateContainer } from './container-addresses.js';

async function openCluster() {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    tx.put('nodes', aNode());
    tx.put(
      'cluster',
      Cluster.fromPartial({ id: 'c', spec: { defaultAddrPools: ['10.0.0.0/8'], subnetSize: 24 } }),
    );
  });
  const { signal } = new AbortController();
  const loops = [allocatorLoop(store), containerReaperLoop(store, clock)].map((definition) =>
    runLoop(definition, { store, clock, logger: silentLogger, signal }),
  );
  await Promise.all(loops.map((loop) => loop.idle()));
  return { store, clock };
}

const putNetwork = (store: MemoryStore, id: string, subnet = '') =>
  store.update((tx) =>
    tx.put(
      'networks',
      Network.fromPartial({
        id,
        spec: { name: id, driver: 'overlay', ipam: subnet ? [{ subnet, gateway: '', ipRange: '' }] : [] },
      }),
    ),
  );
const putOn = (store: MemoryStore, id: string, ...networkIds: string[]) =>
  store.update((tx) =>
    tx.put(
      'containers',
      aContainer({ id, networks: networkIds.map((networkId) => ({ networkId, aliases: [id] })) }),
    ),
  );
const placementOf = (store: MemoryStore, id: string) => store.view().containerPlacements.get(id);

test('a container gets an address on each of its networks, claimed in its name', async () => {
  const { store } = await openCluster();
  await putNetwork(store, 'n1', '10.1.0.0/24');
  await putNetwork(store, 'n2', '10.2.0.0/24');

  await putOn(store, 'c1', 'n1', 'n2');
  await settle();

  expect(placementOf(store, 'c1')).toMatchObject({
    nodeId: '',
    networks: [
      { networkId: 'n1', addr: '10.1.0.2/24', mac: '02:42:0a:01:00:02', aliases: ['c1'] },
      { networkId: 'n2', addr: '10.2.0.2/24' },
    ],
  });
  expect(store.view().claim('ip/n1/10.1.0.2')).toBe('container/c1');
});

test('a container on a network without a subnet yet waits for it', async () => {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await putNetwork(store, 'n1', '10.7.0.0/24');
  await putOn(store, 'c1', 'n1');

  const early = await store.update((tx) => allocateContainer(tx, 'c1', new AddressBook(tx, new Map())));

  expect([early, placementOf(store, 'c1')]).toEqual(['waiting', undefined]);
  const { signal } = new AbortController();
  const loop = runLoop(allocatorLoop(store), { store, clock, logger: silentLogger, signal });
  await loop.idle();
  await settle();
  expect(placementOf(store, 'c1')).toMatchObject({ networks: [{ addr: '10.7.0.2/24' }], pendingReason: '' });
});

test('where one network is full the container is told so, and holds nothing of the other', async () => {
  const { store } = await openCluster();
  await putNetwork(store, 'n1', '10.1.0.0/24');
  await putNetwork(store, 'tiny', '10.2.0.0/30');
  await putOn(store, 'c1', 'tiny');
  await settle();

  await putOn(store, 'c2', 'n1', 'tiny');
  await settle();

  expect(placementOf(store, 'c2')).toMatchObject({
    networks: [],
    pendingReason: expect.stringContaining(
      "no available IPv4 addresses on this network's address pools: tiny",
    ),
  });
  expect(store.view().claim('ip/n1/10.1.0.2')).toBeUndefined();
});

test('a container that is deleted gives its addresses and its name back', async () => {
  const { store } = await openCluster();
  await putNetwork(store, 'tiny', '10.2.0.0/30');
  await putOn(store, 'c1', 'tiny');
  await store.update((tx) => tx.takeClaim('name/container/shop', 'container/c1'));
  await settle();

  await store.update((tx) => tx.put('containers', { ...tx.containers.get('c1')!, removing: true }));
  await settle();

  const view = store.view();
  expect([view.containers.size, view.containerPlacements.size]).toEqual([0, 0]);
  expect([view.claim('ip/tiny/10.2.0.2'), view.claim('name/container/shop')]).toEqual([undefined, undefined]);
  await putOn(store, 'c2', 'tiny');
  await settle();
  expect(placementOf(store, 'c2')?.networks[0]?.addr).toBe('10.2.0.2/30');
});
