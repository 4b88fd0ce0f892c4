import { Image, ImagePlacement, type NodeStatus } from '@tessera/shared/model';
import { aNode, aNodeStatus, FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { openMemoryStore } from '../../store/testing/index.js';
import { planHolders } from './plan.js';

let image = Image.fromPartial({ id: 'sha256:1' });

/** Nodes by id: their state, and whether they hold the image. */
async function holders(
  nodes: Record<string, [NodeStatus['state'], boolean]>,
  before: string[] = [],
  load: [string, number][] = [],
) {
  const store = await openMemoryStore(new FakeClock());
  await store.update((tx) => {
    for (const [id, [state, holds]] of Object.entries(nodes)) {
      tx.put('nodes', aNode({ id, name: id }));
      tx.put('nodeStatuses', aNodeStatus({ nodeId: id, state, imageDigests: holds ? [image.id] : [] }));
    }
    if (before.length > 0)
      tx.put('imagePlacements', ImagePlacement.fromPartial({ imageId: image.id, nodeIds: before }));
  });
  return planHolders(store.view(), image, new Map(load));
}

test('two nodes hold an image, and the one it was loaded on is one of them', async () => {
  expect(await holders({ a: ['ready', false], b: ['ready', false], c: ['ready', true] })).toEqual(['a', 'c']);
});

test('a cluster of one holds it once', async () => {
  expect(await holders({ a: ['ready', true] })).toEqual(['a']);
});

test('a node away for a moment keeps its place, one that is down loses it', async () => {
  const nodes = (state: NodeStatus['state']) =>
    ({ a: ['ready', true], b: [state, true], c: ['ready', false] }) as never;

  expect(await holders(nodes('restarting'), ['a', 'b'])).toEqual(['a', 'b']);
  expect(await holders(nodes('disconnected'), ['a', 'b'])).toEqual(['a', 'b']);
  expect(await holders(nodes('down'), ['a', 'b'])).toEqual(['a', 'c']);
});

test('what is chosen stays chosen when others come to hold it too', async () => {
  expect(await holders({ a: ['ready', true], b: ['ready', true], c: ['ready', true] }, ['b', 'c'])).toEqual([
    'b',
    'c',
  ]);
});

test('the second copy goes to the node that was given the fewest', async () => {
  const nodes = { a: ['ready', true], b: ['ready', false], c: ['ready', false] } as never;

  expect(
    await holders(
      nodes,
      [],
      [
        ['b', 3],
        ['c', 1],
      ],
    ),
  ).toEqual(['a', 'c']);
});

test('what a registry gives again is held where it is needed, and nowhere else', async () => {
  image = { ...image, repoDigests: ['registry.test/app@sha256:2'] };
  try {
    expect(await holders({ a: ['ready', true], b: ['ready', false] }, ['a', 'b'])).toEqual([]);
  } finally {
    image = { ...image, repoDigests: [] };
  }
});
