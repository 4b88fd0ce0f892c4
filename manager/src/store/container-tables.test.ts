import { systemClock } from '@tessera/shared/env';
import { Container, ContainerPlacement } from '@tessera/shared/model';
import { expect, test } from 'vitest';
import { openMemoryStore } from './testing/index.js';

const placed = (containerId: string, nodeId: string) =>
  ContainerPlacement.fromPartial({ containerId, nodeId });
const named = (id: string, name: string) => Container.fromPartial({ id, name });

test('containers are found by name, and placements by node, in the store and in a transaction', async () => {
  const store = await openMemoryStore(systemClock);
  await store.update((tx) => {
    tx.put('containers', named('c1', 'web'));
    tx.put('containers', named('c2', 'db'));
    tx.put('containerPlacements', placed('c1', 'node-1'));
    tx.put('containerPlacements', placed('c2', 'node-2'));
  });

  const inside = await store.update((tx) => {
    tx.put('containers', named('c1', 'shop'));
    tx.put('containerPlacements', placed('c2', 'node-1'));
    return {
      web: tx.containers.byName('web'),
      shop: tx.containers.byName('shop')?.id,
      first: tx.containerPlacements.byNode('node-1').map(({ containerId }) => containerId),
      second: tx.containerPlacements.byNode('node-2'),
    };
  });

  expect(inside).toEqual({ web: undefined, shop: 'c1', first: ['c1', 'c2'], second: [] });
  const view = store.view();
  expect(view.containers.byName('shop')?.id).toBe('c1');
  expect(view.containers.byName('web')).toBeUndefined();
  expect(view.containerPlacements.byNode('node-1').length).toBe(2);
  store.close();
});

test('a container counts the writes of its key and knows when it was made', async () => {
  const store = await openMemoryStore(systemClock);
  await store.update((tx) => tx.put('containers', named('c1', 'web')));
  const first = store.view().containers.get('c1')?.meta;

  await store.update((tx) => tx.put('containers', named('c1', 'shop')));

  const second = store.view().containers.get('c1')?.meta;
  expect(second?.index).toBeGreaterThan(first?.index ?? 0);
  expect(second?.createdAtMs).toBe(first?.createdAtMs);
  expect(first?.createdAtMs).toBeGreaterThan(0);
  store.close();
});
