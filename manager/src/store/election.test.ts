import { silentLogger } from '@tessera/shared/env';
import { aNode, FakeClock, SeededRandom, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { Election, type Leadership } from './election.js';
import type { CallFate } from './kv/memory-kv.js';
import { type MemoryStore, openMemoryStore } from './testing/index.js';

const TTL_MS = 5_000;

async function arrange() {
  const clock = new FakeClock();
  const first = await openMemoryStore(clock, { managerId: 'm1' });
  const second = await openMemoryStore(clock, { managerId: 'm2', beside: first });
  const electionOf = (store: MemoryStore, managerId: string) =>
    new Election(store.kv, {
      clock,
      random: new SeededRandom(1, managerId),
      logger: silentLogger,
      managerId,
      leaseTtlMs: TTL_MS,
    });
  return { clock, first, second, one: electionOf(first, 'm1'), two: electionOf(second, 'm2') };
}

const never = new AbortController().signal;

/** A campaign under way, and whether it has been won. */
function campaign(election: Election, signal = never) {
  const state: { won?: Leadership } = {};
  void election.campaign(signal).then(
    (leadership) => {
      state.won = leadership;
    },
    () => {},
  );
  return state;
}

test('one manager leads, and when it resigns the other does at once', async () => {
  const { one, two, first } = await arrange();
  const leader = await one.campaign(never);
  const waiting = campaign(two);
  await settle();
  expect(waiting.won).toBeUndefined();
  expect(first.view().leaderId).toBe('m1');

  await leader.resign();
  await settle();

  expect(waiting.won?.isSure()).toBe(true);
  expect(leader.signal.aborted).toBe(true);
  expect(first.view().leaderId).toBe('m2');
});

test('a leader stays for as long as its lease is kept alive', async () => {
  const { one, two, clock } = await arrange();
  const leader = await one.campaign(never);
  const waiting = campaign(two);

  await clock.advanceAsync(20 * TTL_MS);

  expect([leader.signal.aborted, leader.isSure(), waiting.won]).toEqual([false, true, undefined]);
});

test('a leader that falls silent is replaced after its lease, and is unsure before that', async () => {
  const { one, two, first, clock } = await arrange();
  const leader = await one.campaign(never);
  const waiting = campaign(two);
  await settle();

  first.kv.freeze();
  await clock.advanceAsync(TTL_MS - 1);
  expect([waiting.won !== undefined, leader.isSure()]).toEqual([false, false]);
  await clock.advanceAsync(TTL_MS);

  expect(waiting.won).toBeDefined();
});

test('a paused leader that comes back writes nothing, and learns that it was deposed', async () => {
  const { one, two, first, second, clock } = await arrange();
  const leader = await one.campaign(never);
  const store = first.fenced(leader.fence);
  await store.update((tx) => tx.put('nodes', aNode({ id: 'n1' })));
  const waiting = campaign(two);
  await settle();
  first.kv.freeze();
  await clock.advanceAsync(2 * TTL_MS);
  expect(waiting.won).toBeDefined();
  const { revision } = await second.kv.status();

  const late = store.update((tx) => tx.put('nodes', aNode({ id: 'late' })));
  const refused = expect(late).rejects.toMatchObject({ kind: 'unavailable' });
  first.kv.thaw();
  await refused;
  const again = store.update((tx) => tx.put('nodes', aNode({ id: 'again' })));
  await expect(again).rejects.toMatchObject({ kind: 'unavailable' });

  expect((await second.kv.status()).revision).toBe(revision);
  expect([...(await second.read()).nodes.all()].map(({ id }) => id)).toEqual(['n1']);
  expect(leader.signal.aborted).toBe(true);
});

test('a leader whose own lease expired while it was away does not win back its old term', async () => {
  const { one, first, clock } = await arrange();
  const leader = await one.campaign(never);
  const store = first.fenced(leader.fence);
  first.kv.freeze();
  await clock.advanceAsync(2 * TTL_MS);
  first.kv.thaw();
  await settle();

  const next = await one.campaign(never);

  expect(next.fence.createRevision).toBeGreaterThan(leader.fence.createRevision);
  await expect(store.update((tx) => tx.put('nodes', aNode()))).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(first.fenced(next.fence).update((tx) => tx.put('nodes', aNode()))).resolves.toBeUndefined();
});

test('a campaign whose answer is lost is won when it was won', async () => {
  const { one, first, clock } = await arrange();
  const fates: CallFate[] = ['loseAnswer'];
  first.kv.faults.fate = (call) => (call === 'txn' ? (fates.shift() ?? 'answer') : 'answer');
  const state = campaign(one);

  await clock.advanceAsync(1_000);

  const fence = state.won!.fence;
  const { kvs } = await first.kv.range({ key: fence.key });
  expect(kvs[0]!.createRevision).toBe(fence.createRevision);
});

test('a campaign that is called off leaves nothing behind', async () => {
  const { one, two, first } = await arrange();
  const leader = await one.campaign(never);
  const calledOff = new AbortController();
  campaign(two, calledOff.signal);
  await settle();

  calledOff.abort(new Error('stopping'));
  await settle();
  await leader.resign();
  await settle();

  expect(first.view().leaderId).toBeUndefined();
});
