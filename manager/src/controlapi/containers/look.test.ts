import { aContainer, FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';
import type { View } from '../../store/view.js';
import { lookAt } from './look.js';
import { getContainer } from './lookup.js';

const ID = 'ab'.repeat(32);

/** A store that counts how often etcd had to be asked; `late` comes into the picture only then. */
async function counting(late?: string) {
  const store = await openMemoryStore(new FakeClock());
  await store.update((tx) => tx.put('containers', aContainer({ id: ID, name: 'web' })));
  await store.update((tx) => tx.takeClaim('name/container/web', `container/${ID}`));
  let reads = 0;
  const counted: Pick<MemoryStore, 'view' | 'read'> = {
    view: () => store.view(),
    read: async () => {
      reads++;
      if (late) await store.update((tx) => tx.put('containers', aContainer({ id: late, name: 'late' })));
      return store.view();
    },
  };
  const look = (reference: string) =>
    lookAt(counted as MemoryStore, reference, (view: View) => getContainer(view, reference).id);
  return { look, reads: () => reads };
}

test('a whole id that is known is found in the picture at hand; a name, or a beginning, is read', async () => {
  const { look, reads } = await counting();

  expect(await look(ID)).toBe(ID);
  expect(reads()).toBe(0);
  expect(await look('web')).toBe(ID);
  expect(await look(ID.slice(0, 12))).toBe(ID);
  expect(reads()).toBe(2);
});

test('what the picture at hand refuses is decided on a fresh one', async () => {
  const late = 'cd'.repeat(32);
  const { look, reads } = await counting(late);

  expect(await look(late)).toBe(late);
  expect(reads()).toBe(1);
  await expect(look('ef'.repeat(32))).rejects.toMatchObject({ kind: 'notFound' });
});
