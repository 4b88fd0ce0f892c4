import { silentLogger } from '@tessera/shared/env';
import { aNode, FakeClock, SeededRandom, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { Leader, type Term } from './leader.js';
import { Election } from './store/index.js';
import { type MemoryStore, openMemoryStore } from './store/testing/index.js';

async function arrange() {
  const clock = new FakeClock();
  const first = await openMemoryStore(clock, { managerId: 'm1' });
  const second = await openMemoryStore(clock, { managerId: 'm2', beside: first });
  const log: string[] = [];
  const leaderOf = (store: MemoryStore, managerId: string, act?: (term: Term) => Promise<void>) => {
    const env = { clock, logger: silentLogger };
    const election = new Election(store.kv, { ...env, random: new SeededRandom(1, managerId), managerId });
    const lead = async (term: Term) => {
      log.push(`${managerId} leads`);
      await act?.(term);
      if (!term.signal.aborted)
        await new Promise<void>((resolve) => term.signal.addEventListener('abort', () => resolve()));
      log.push(`${managerId} stopped`);
    };
    return new Leader({ ...env, store, election, lead });
  };
  return { clock, first, second, log, leaderOf };
}

test('loops run on one manager at a time, and move when it stops', async () => {
  const { first, second, log, leaderOf } = await arrange();
  const stopFirst = new AbortController();
  const stopSecond = new AbortController();
  const one = leaderOf(first, 'm1').run(stopFirst.signal);
  await settle();
  const two = leaderOf(second, 'm2').run(stopSecond.signal);
  await settle();

  stopFirst.abort(new Error('stopping'));
  await one;
  await settle();
  stopSecond.abort(new Error('stopping'));
  await two;

  expect(log).toEqual(['m1 leads', 'm1 stopped', 'm2 leads', 'm2 stopped']);
  expect(second.view().leaderId).toBeUndefined();
});

test('a manager whose lease ran out stops its loops, and leads again when it may', async () => {
  const { clock, first, log, leaderOf } = await arrange();
  const stop = new AbortController();
  const run = leaderOf(first, 'm1').run(stop.signal);
  await settle();

  first.kv.freeze();
  await clock.advanceAsync(20_000);
  first.kv.thaw();
  await clock.advanceAsync(5_000);
  stop.abort(new Error('stopping'));
  await run;

  expect(log).toEqual(['m1 leads', 'm1 stopped', 'm1 leads', 'm1 stopped']);
});

test('loops that fail are started again in a new term', async () => {
  const { clock, first, log, leaderOf } = await arrange();
  const stop = new AbortController();
  let failures = 1;
  const run = leaderOf(first, 'm1', async ({ store }) => {
    if (failures-- > 0) throw new Error('a bug');
    await store.update((tx) => tx.put('nodes', aNode({ id: 'n1' })));
  }).run(stop.signal);

  await clock.advanceAsync(5_000);
  stop.abort(new Error('stopping'));
  await run;

  expect(log).toEqual(['m1 leads', 'm1 leads', 'm1 stopped']);
  expect(first.view().nodes.get('n1')).toBeDefined();
});
