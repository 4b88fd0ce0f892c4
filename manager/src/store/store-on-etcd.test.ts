import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { aNode, aService, aTask } from '@tessera/shared/testing';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Election } from './election.js';
import { EtcdKv } from './kv/etcd-kv.js';
import { type ClusterStore, createStore } from './store.js';
import { TestLink } from './testing/link.js';
import { startTestEtcd, type TestEtcd } from './testing/test-etcd.js';
import type { Change, Store } from './view.js';

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };
let etcd: TestEtcd;
let storeCount = 0;
const closers: (() => void)[] = [];

beforeAll(async () => {
  etcd = await startTestEtcd();
}, 90_000);
afterAll(() => etcd?.stop());
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function openStore(endpoint = etcd.endpoint, callTimeoutMs = 2_000): Promise<ClusterStore> {
  const kv = new EtcdKv(env, { endpoints: [endpoint], callTimeoutMs });
  closers.push(() => kv.close());
  const store = await createStore(kv, { ...env, managerId: `m${++storeCount}`, patienceMs: 60_000 });
  closers.push(() => store.close());
  return store;
}

async function linkedStore(): Promise<{ store: ClusterStore; link: TestLink }> {
  const link = await TestLink.to(etcd.endpoint);
  closers.push(() => link.close());
  return { store: await openStore(link.endpoint), link };
}

const increment = (store: Store, id: string) =>
  store.update((tx) => {
    const service = tx.services.get(id)!;
    tx.put('services', { ...service, spec: { ...service.spec!, replicas: service.spec!.replicas + 1 } });
  });

async function makeCounter(store: Store, id: string): Promise<void> {
  await store.update((tx) => tx.put('services', aService({ id }, { name: id, replicas: 0 })));
}

/** Increments, one after another, until told to stop; counts those that were certainly made. */
function keepIncrementing(store: Store, id: string) {
  let going = true;
  const made = { count: 0 };
  const done = (async () => {
    while (going) {
      try {
        await increment(store, id);
        made.count++;
      } catch (error) {
        if (!(error instanceof ClusterError) || error.kind !== 'aborted') throw error;
      }
    }
  })();
  return {
    made,
    async stop(): Promise<number> {
      going = false;
      await done;
      return made.count;
    },
  };
}

const replicas = (store: Store, id: string) => store.view().services.get(id)!.spec!.replicas;

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(systemClock, 10);
}

test('a thousand updates at once share requests', async () => {
  const store = await openStore();
  const txn = store.kv.txn.bind(store.kv);
  let requests = 0;
  store.kv.txn = (request) => {
    requests++;
    return txn(request);
  };

  await Promise.all(
    Array.from({ length: 1_000 }, (_, index) =>
      store.update((tx) => tx.put('tasks', aTask({ id: `thousand-${index}` }))),
    ),
  );

  expect([...store.view().tasks.all()].filter(({ id }) => id.startsWith('thousand'))).toHaveLength(1_000);
  expect(requests).toBeLessThan(15);
});

test('what one manager creates, a read on another one shows', async () => {
  const [one, two] = [await openStore(), await openStore()];

  for (let count = 0; count < 20; count++) {
    await one.update((tx) => tx.put('nodes', aNode({ id: `seen-${count}` })));
    expect((await two.read()).nodes.get(`seen-${count}`)).toBeDefined();
  }
});

test('a read reaches a revision that was made outside the store', async () => {
  const store = await openStore();
  const foreign = etcd.connect();
  const put = { kind: 'put', key: '/elsewhere', value: Buffer.from('x') } as const;
  const { revision } = await foreign.txn({ compares: [], success: [put], failure: [] });

  const view = await store.read();

  expect(view.revision).toBeGreaterThan(revision);
});

test('etcd killed under load: every update counts once, and the watch goes on where it was', async () => {
  const [one, two] = [await openStore(), await openStore()];
  await makeCounter(one, 'killed');
  await two.read();
  const heard: number[] = [];
  two.subscribe((changes, view) => {
    if (changes.some(({ id }) => id === 'killed')) heard.push(view.services.get('killed')!.spec!.replicas);
  });
  const workers = [keepIncrementing(one, 'killed'), keepIncrementing(two, 'killed')];

  for (let round = 1; round <= 3; round++) {
    const target = workers[0]!.made.count + 10;
    await until(() => workers[0]!.made.count >= target);
    const { pid } = etcd.supervisor;
    etcd.signal('SIGKILL');
    await until(() => etcd.supervisor.pid !== pid);
  }
  await until(() => workers.every(({ made }) => made.count > 30));
  const counts = await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all([one.read(), two.read()]);

  const total = counts.reduce((sum, count) => sum + count, 0);
  expect([replicas(one, 'killed'), replicas(two, 'killed')]).toEqual([total, total]);
  expect(heard).toEqual(Array.from({ length: total }, (_, index) => index + 1));
}, 90_000);

test('etcd stopped for longer than a call may take: updates and reads wait, and count once', async () => {
  const store = await openStore(etcd.endpoint, 500);
  await makeCounter(store, 'stopped');
  const worker = keepIncrementing(store, 'stopped');
  await until(() => worker.made.count > 10);

  etcd.signal('SIGSTOP');
  const read = store.read();
  await delay(systemClock, 3_000);
  const before = worker.made.count;
  etcd.signal('SIGCONT');
  await read;
  await until(() => worker.made.count > before + 10);

  const count = await worker.stop();

  expect(replicas(store, 'stopped')).toBe(count);
}, 60_000);

test('a manager cut off beyond a compaction lists again, and tells of every difference', async () => {
  const { store, link } = await linkedStore();
  const other = await openStore();
  await other.update((tx) => {
    for (const id of ['kept', 'changed', 'gone']) tx.put('nodes', aNode({ id, name: 'old' }));
    tx.takeClaim('name/node/gone', 'node/gone');
  });
  await store.read();
  const heard: Change[] = [];
  store.subscribe((changes) => heard.push(...changes));

  link.cut();
  await other.update((tx) => {
    tx.put('nodes', aNode({ id: 'changed', name: 'new' }));
    tx.delete('nodes', 'gone');
    tx.releaseClaim('name/node/gone');
  });
  await other.update((tx) => tx.put('nodes', aNode({ id: 'made' })));
  await other.kv.compact(other.view().revision);
  link.heal();
  const view = await store.read();

  const names = ['kept', 'changed', 'gone', 'made'].map((id) => view.nodes.get(id)?.name);
  expect(names).toEqual(['old', 'new', undefined, 'host1']);
  expect(view.claim('name/node/gone')).toBeUndefined();
  expect(
    heard.map(({ id, before, after }) => [id, before !== undefined, after !== undefined]).sort(),
  ).toEqual([
    ['changed', true, true],
    ['gone', true, false],
    ['made', false, true],
  ]);
});

test('connections that break again and again lose no event and repeat none', async () => {
  const { store, link } = await linkedStore();
  const other = await openStore();
  await makeCounter(other, 'breaks');
  await store.read();
  const heard: number[] = [];
  store.subscribe((_, view) => heard.push(view.services.get('breaks')!.spec!.replicas));
  const worker = keepIncrementing(other, 'breaks');

  for (let round = 0; round < 10; round++) {
    link.cut();
    await delay(systemClock, 20);
    link.heal();
    const target = worker.made.count + 5;
    await until(() => worker.made.count >= target);
  }
  const count = await worker.stop();
  await store.read();

  expect(heard).toEqual(Array.from({ length: count }, (_, index) => index + 1));
}, 60_000);

test('a stalled link is noticed by a read, and mended', async () => {
  const { store, link } = await linkedStore();
  const other = await openStore();

  link.stall();
  await other.update((tx) => tx.put('nodes', aNode({ id: 'stalled' })));
  const read = store.read();
  await delay(systemClock, 500);
  link.heal();

  expect((await read).nodes.get('stalled')).toBeDefined();
});

test('a leader paused beyond its lease writes nothing when it comes back', async () => {
  const { store, link } = await linkedStore();
  const second = await openStore();
  const electionOf = ({ kv }: ClusterStore, managerId: string) =>
    new Election(kv, { ...env, managerId, leaseTtlMs: 2_000 });
  const signal = new AbortController().signal;
  const leader = await electionOf(store, 'paused').campaign(signal);
  const fenced = store.fenced(leader.fence);
  await fenced.update((tx) => tx.put('nodes', aNode({ id: 'while-leading' })));

  link.stall();
  const next = await electionOf(second, 'next').campaign(signal);
  const late = fenced.update((tx) => tx.put('nodes', aNode({ id: 'too-late' })));
  const refused = expect(late).rejects.toMatchObject({ kind: 'unavailable' });
  link.heal();
  await refused;
  const view = await second.read();
  await next.resign();

  expect([view.nodes.get('too-late'), leader.signal.aborted]).toEqual([undefined, true]);
  expect(view.nodes.get('while-leading')).toBeDefined();
}, 60_000);

test('a session dies with the lease of its manager', async () => {
  const watcher = await openStore();
  const kv = etcd.connect();
  const { id } = await kv.grantLease(60_000);
  const store = await createStore(kv, { ...env, managerId: 'with-lease', lease: () => id });
  closers.push(() => store.close());
  await store.update((tx) =>
    tx.put('sessions', { nodeId: 'n1', managerId: 'm', sessionId: 's', managerAddr: '' }),
  );
  expect((await watcher.read()).sessions.get('n1')?.sessionId).toBe('s');

  await kv.revokeLease(id);

  expect((await watcher.read()).sessions.get('n1')).toBeUndefined();
});
