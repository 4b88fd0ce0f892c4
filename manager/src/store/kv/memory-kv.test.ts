import { FakeClock, settle } from '@tessera/shared/testing';
import { describe, expect, test } from 'vitest';
import { kvContract } from './contract.js';
import { Recorder } from './contract-support.js';
import { MemoryKv } from './memory-kv.js';

describe('in memory', () => {
  const clock = new FakeClock();
  const kv = new MemoryKv(clock);
  kvContract(() => ({ connect: () => kv.connect(), pass: (timeMs) => clock.advanceAsync(timeMs) }));
});

const put = (key: string) =>
  ({
    compares: [],
    success: [{ kind: 'put', key, value: new Uint8Array() }],
    failure: [],
  }) as const;

test('a lost answer is an error, yet the write was made; a refused call writes nothing', async () => {
  const kv = new MemoryKv(new FakeClock());
  kv.faults.fate = () => 'loseAnswer';
  const lost = kv.txn(put('/a'));
  await expect(lost).rejects.toMatchObject({ kind: 'unavailable' });
  kv.faults.fate = () => 'refuse';
  await expect(kv.txn(put('/b'))).rejects.toMatchObject({ kind: 'unavailable' });
  kv.faults.fate = () => 'answer';

  const { kvs } = await kv.range({ key: '/', prefix: true });

  expect(kvs.map(({ key }) => key)).toEqual(['/a']);
});

test('a watch is as late as its client is told to be, and in order', async () => {
  const clock = new FakeClock();
  const kv = new MemoryKv(clock);
  let delayMs = 100;
  const slow = kv.connect({ watchDelayMs: () => delayMs });
  const seen = new Recorder();
  slow.watch('/', 2, seen);
  await kv.txn(put('/a'));
  delayMs = 0;
  await kv.txn(put('/b'));
  await settle();
  expect(seen.revisions).toEqual([]);

  await clock.advanceAsync(100);

  expect(seen.revisions.map(({ revision }) => revision)).toEqual([2, 3]);
});

test('a frozen client neither answers nor hears until it is thawed', async () => {
  const clock = new FakeClock();
  const kv = new MemoryKv(clock);
  const frozen = kv.connect();
  const seen = new Recorder();
  frozen.watch('/', 2, seen);
  frozen.freeze();
  let answered = false;
  const call = frozen.txn(put('/late')).then(() => {
    answered = true;
  });
  await kv.txn(put('/a'));
  await settle();
  expect([answered, seen.revisions.length]).toEqual([false, 0]);

  frozen.thaw();
  await call;
  await settle();

  expect(seen.revisions.map(({ revision }) => revision)).toEqual([2, 3]);
});

test('old history is dropped by itself, so that a long simulation does not grow', async () => {
  const kv = new MemoryKv(new FakeClock());
  for (let count = 0; count < 45_000; count++) await kv.txn(put('/a'));

  await expect(kv.range({ key: '/a', revision: 100 })).rejects.toMatchObject({ kind: 'aborted' });
});
