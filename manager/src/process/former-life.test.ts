import { FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { LEADER_KEY, MemoryKv } from '../store/index.js';
import { endFormerLife } from './former-life.js';

async function ledBy(managerId: string): Promise<MemoryKv> {
  const kv = new MemoryKv(new FakeClock());
  const { id: lease } = await kv.grantLease(5_000);
  const value = Buffer.from(JSON.stringify({ managerId, term: 'before' }));
  await kv.txn({
    compares: [],
    success: [{ kind: 'put', key: LEADER_KEY, value, lease }],
    failure: [],
  });
  return kv;
}

const isLed = async (kv: MemoryKv) => (await kv.range({ key: LEADER_KEY })).kvs.length > 0;

test('a manager that starts again ends the term it had when it was killed', async () => {
  const kv = await ledBy('manager-1');

  await endFormerLife(kv, 'manager-1');

  expect(await isLed(kv)).toBe(false);
});

test('it lets another manager lead on, and an empty place be', async () => {
  const kv = await ledBy('manager-2');

  await endFormerLife(kv, 'manager-1');
  expect(await isLed(kv)).toBe(true);

  await expect(endFormerLife(new MemoryKv(new FakeClock()), 'manager-1')).resolves.toBeUndefined();
});
