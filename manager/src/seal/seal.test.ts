import { Cluster } from '@tessera/shared/model';
import { FakeClock, SeededRandom } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { openMemoryStore } from '../store/testing/index.js';
import { seal, unseal } from './index.js';

test('what is sealed in an object can be read there and nowhere else', async () => {
  const store = await openMemoryStore(new FakeClock());
  const random = new SeededRandom(1);
  await store.update((tx) => tx.put('cluster', Cluster.fromPartial({ id: 'cluster-1' })));

  const [first, second] = await store.update((tx) => [
    seal(tx, random, 'service/1', 'pass:word'),
    seal(tx, random, 'service/1', 'pass:word'),
  ]);

  const view = store.view();
  expect(unseal(view, 'service/1', first!)).toBe('pass:word');
  expect(unseal(view, 'service/1', second!)).toBe('pass:word');
  expect(first).not.toEqual(second);
  expect(first!.includes('pass')).toBe(false);
  expect(unseal(view, 'service/2', first!)).toBeUndefined();
  first![20]! ^= 1;
  expect(unseal(view, 'service/1', first!)).toBeUndefined();
  expect(unseal(view, 'service/1', Buffer.alloc(0))).toBeUndefined();
  store.close();
});
