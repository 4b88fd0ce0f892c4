import { silentLogger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { aNode, aService, FakeClock, SeededRandom, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { Election } from './election.js';
import type { CallFate } from './kv/memory-kv.js';
import { type MemoryStore, openMemoryStore } from './testing/index.js';
import type { Store } from './view.js';

/** The fates of the next commits, one after another; then they are answered. */
function nextTxns(store: MemoryStore, ...fates: CallFate[]): void {
  store.kv.faults.fate = (call) => (call === 'txn' ? (fates.shift() ?? 'answer') : 'answer');
}

const increment = (store: Store, id = 's1') =>
  store.update((tx) => {
    const service = tx.services.get(id)!;
    tx.put('services', { ...service, spec: { ...service.spec!, replicas: service.spec!.replicas + 1 } });
    return service.spec!.replicas + 1;
  });

const replicas = (store: Store, id = 's1') => store.view().services.get(id)!.spec!.replicas;

async function openCounter(clock: FakeClock): Promise<MemoryStore> {
  const store = await openMemoryStore(clock);
  await store.update((tx) => tx.put('services', aService({ id: 's1' }, { replicas: 0 })));
  return store;
}

/** Moves time on until the promise is settled, so that back-offs end. */
async function whileTimePasses<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = () => {
    settled = true;
  };
  promise.then(done, done);
  while (!settled) await clock.advanceAsync(100);
  return promise;
}

test('a commit whose answer is lost is found, and not made twice', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  nextTxns(store, 'loseAnswer');

  expect(await whileTimePasses(clock, increment(store))).toBe(1);

  expect(replicas(store)).toBe(1);
});

test('a commit that never arrived is made', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  nextTxns(store, 'refuse');

  await whileTimePasses(clock, increment(store));

  expect(replicas(store)).toBe(1);
});

test('the look-up itself may lose its answers', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  // The commit never arrives; the look-up marks it void twice, each time unheard.
  nextTxns(store, 'refuse', 'loseAnswer', 'refuse', 'loseAnswer');
  await whileTimePasses(clock, increment(store));
  // The commit arrives; the look-up goes wrong, then reading what became of it does.
  nextTxns(store, 'loseAnswer', 'loseAnswer', 'answer', 'refuse', 'refuse');
  await whileTimePasses(clock, increment(store));

  expect(replicas(store)).toBe(2);
});

test('of a batch whose answer is lost, each change gets its own outcome', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  const other = await openMemoryStore(clock, { beside: store, managerId: 'manager-2' });
  await store.update((tx) => tx.put('services', aService({ id: 's2' }, { replicas: 10, name: 'two' })));
  await other.read();
  const first = increment(store);
  nextTxns(store, 'loseAnswer');
  // This store does not hear of the other's write in time, so its change of s2 is refused inside the batch.
  store.kv.faults.watchDelayMs = () => 50;
  const others = increment(other, 's2');

  const second = increment(store, 's2');
  const third = store.update((tx) => tx.put('nodes', aNode({ id: 'n1' })));
  await whileTimePasses(clock, Promise.all([first, others, second, third]));

  expect([replicas(store), replicas(store, 's2')]).toEqual([1, 12]);
  expect(store.view().nodes.get('n1')).toBeDefined();
});

test('a commit that the network delivers after it was given up changes nothing', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  // The first commit is held back: the caller hears nothing, and it arrives only when all is over.
  const txn = store.kv.txn.bind(store.kv);
  let deliver: (() => Promise<unknown>) | undefined;
  store.kv.txn = (request) => {
    if (deliver) return txn(request);
    deliver = () => txn(request);
    return Promise.reject(new ClusterError('unavailable', 'no answer'));
  };
  await whileTimePasses(clock, increment(store));
  expect(replicas(store)).toBe(1);

  await deliver?.();
  await increment(store);

  expect(replicas(store)).toBe(2);
});

test('an update gives up after its patience, and says that its outcome is not known', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  store.kv.faults.fate = () => 'refuse';

  const sent = increment(store);
  const queued = increment(store);
  const both = Promise.allSettled([sent, queued]);
  const reasons = (await whileTimePasses(clock, both)).map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason as ClusterError) : undefined,
  );

  expect(reasons.map((reason) => reason?.kind)).toEqual(['unavailable', 'unavailable']);
  expect(reasons.map((reason) => reason?.message)).toEqual([
    'the store did not answer in time: the change may or may not have been made',
    'the store does not answer: the change was not made',
  ]);
});

test('after an outage updates go on, and those given up unsent are not made later', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  store.kv.faults.fate = () => 'refuse';
  await whileTimePasses(clock, Promise.allSettled([increment(store), increment(store)]));

  store.kv.faults.fate = () => 'answer';
  await whileTimePasses(clock, increment(store));

  expect(replicas(store)).toBe(1);
});

test('a manager that starts again under its name takes up where it left', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  await increment(store);
  store.close();

  const again = await openMemoryStore(clock, { beside: store, seed: 2 });
  await increment(again);
  nextTxns(again, 'loseAnswer');
  await whileTimePasses(clock, increment(again));

  expect(replicas(again)).toBe(3);
});

test('a first commit whose answer is lost is found, also after an earlier life', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  store.close();

  const again = await openMemoryStore(clock, { beside: store, seed: 2 });
  nextTxns(again, 'loseAnswer');
  await whileTimePasses(clock, increment(again));

  expect(replicas(again)).toBe(1);
});

test('a deposed leader with an unknown outcome hears that it no longer leads, and has written nothing', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  const election = new Election(store.kv.connect(), {
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    managerId: 'm1',
  });
  const leadership = await election.campaign(new AbortController().signal);
  const fenced = store.fenced(leadership.fence);
  await increment(fenced);
  nextTxns(store, 'refuse', 'refuse');
  const late = increment(fenced).catch((error: ClusterError) => error.message);
  await settle();

  await leadership.resign();

  expect(await whileTimePasses(clock, late)).toBe('this manager no longer leads');
  expect(replicas(store)).toBe(1);
});

test('a leader deposed right after a commit whose answer was lost learns that it was made', async () => {
  const clock = new FakeClock();
  const store = await openCounter(clock);
  const election = new Election(store.kv.connect(), {
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    managerId: 'm1',
  });
  const leadership = await election.campaign(new AbortController().signal);
  const fenced = store.fenced(leadership.fence);
  await increment(fenced);
  nextTxns(store, 'loseAnswer', 'refuse');
  const late = increment(fenced);
  await settle();

  await leadership.resign();

  expect(await whileTimePasses(clock, late)).toBe(2);
  expect(replicas(store)).toBe(2);
});

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`whatever answers are lost, every update counts once (seed ${seed})`, async () => {
    const clock = new FakeClock();
    const random = new SeededRandom(seed);
    const one = await openMemoryStore(clock, { patienceMs: 1e9, managerId: 'm1' });
    const two = await openMemoryStore(clock, { patienceMs: 1e9, managerId: 'm2', beside: one, seed: 2 });
    const names = ['s0', 's1', 's2', 's3'];
    await one.update((tx) => {
      for (const id of names) tx.put('services', aService({ id }, { name: id, replicas: 0 }));
    });
    await two.read();
    for (const { kv } of [one, two]) {
      kv.faults.fate = (): CallFate =>
        random.next() < 0.2 ? 'loseAnswer' : random.next() < 0.2 ? 'refuse' : 'answer';
      kv.faults.watchDelayMs = () => Math.floor(random.next() * 200);
      kv.faults.repeatEvents = () => random.next() < 0.2;
    }
    const kept = new Map(names.map((id) => [id, 0]));
    const work = async (store: Store) => {
      for (let count = 0; count < 30; count++) {
        const id = names[Math.floor(random.next() * names.length)]!;
        try {
          await increment(store, id);
          kept.set(id, kept.get(id)! + 1);
        } catch (error) {
          // Lost to the other manager too often: certainly not made.
          expect(error).toMatchObject({ kind: 'aborted' });
        }
      }
    };

    await whileTimePasses(clock, Promise.all([work(one), work(one), work(one), work(two), work(two)]));
    for (const { kv } of [one, two]) kv.faults.fate = () => 'answer';
    const view = await whileTimePasses(clock, one.read());

    expect(names.map((id) => view.services.get(id)!.spec!.replicas)).toEqual([...kept.values()]);
  });
}
