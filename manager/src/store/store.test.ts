import { ClusterError } from '@tessera/shared/errors';
import type { Service } from '@tessera/shared/model';
import { aNode, aService, aTask, FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import type { CallFate } from './kv/memory-kv.js';
import { type MemoryStore, openMemoryStore } from './testing/index.js';
import type { Change, Store } from './view.js';

const open = (options?: Parameters<typeof openMemoryStore>[1]) => openMemoryStore(new FakeClock(), options);

const putService = (store: Store, id: string, name: string, replicas = 1) =>
  store.update((tx) => {
    tx.takeClaim(`name/service/${name}`, `service/${id}`);
    tx.put('services', aService({ id }, { name, replicas }));
  });

const withReplicas = (service: Service, replicas: number): Service => ({
  ...service,
  spec: { ...service.spec!, replicas },
});

/** Counts the requests that a store's commits take. */
function countTxns(store: MemoryStore): () => number {
  let count = 0;
  store.kv.faults.fate = (call): CallFate => {
    if (call === 'txn') count++;
    return 'answer';
  };
  return () => count;
}

test('an update is visible when it returns, by id, name and claim', async () => {
  const store = await open();

  await putService(store, 's1', 'web');

  expect(store.view().services.get('s1')?.spec?.name).toBe('web');
  expect(store.view().services.byName('web')?.id).toBe('s1');
  expect(store.view().claim('name/service/web')).toBe('service/s1');
  expect(store.view().revision).toBe((await store.kv.status()).revision);
});

test('the store keeps the times of an object and its index, the revision of its last write', async () => {
  const clock = new FakeClock(1_000);
  const store = await openMemoryStore(clock);
  await putService(store, 's1', 'web');
  const made = store.view().services.get('s1')!.meta!;
  clock.advance(500);

  await store.update((tx) => tx.put('services', withReplicas(tx.services.get('s1')!, 3)));

  const changed = store.view().services.get('s1')!.meta!;
  expect(made).toMatchObject({ createdAtMs: 1_000, updatedAtMs: 1_000 });
  expect(changed).toMatchObject({ createdAtMs: 1_000, updatedAtMs: 1_500, index: store.view().revision });
  expect(changed.index).toBeGreaterThan(made.index);
});

test('the index of an object stays while other keys are written', async () => {
  const store = await open();
  await putService(store, 's1', 'web');
  const { index } = store.view().services.get('s1')!.meta!;

  await store.update((tx) =>
    tx.put('serviceStatuses', { serviceId: 's1', virtualIps: [], update: undefined }),
  );

  expect(store.view().services.get('s1')!.meta!.index).toBe(index);
});

test('a put that changes nothing writes nothing', async () => {
  const store = await open();
  await putService(store, 's1', 'web');
  const { revision } = store.view();

  await store.update((tx) => tx.put('services', tx.services.get('s1')!));

  expect((await store.kv.status()).revision).toBe(revision);
});

test('a transaction reads its own writes, in tables and in indexes', async () => {
  const store = await open();
  await store.update((tx) => {
    tx.put('tasks', aTask({ id: 't1', serviceId: 's1' }));
    tx.put('tasks', aTask({ id: 't3', serviceId: 's1' }));
  });

  const seen = await store.update((tx) => {
    tx.put('tasks', aTask({ id: 't2', serviceId: 's1', nodeId: 'n1' }));
    tx.delete('tasks', 't1');
    return {
      byService: tx.tasks.byService('s1').map(({ id }) => id),
      byNode: tx.tasks.byNode('n1').map(({ id }) => id),
      all: [...tx.tasks.all()].map(({ id }) => id),
      size: tx.tasks.size,
      gone: tx.tasks.get('t1'),
    };
  });

  expect(seen).toEqual({
    byService: ['t2', 't3'],
    byNode: ['t2'],
    all: ['t2', 't3'],
    size: 2,
    gone: undefined,
  });
  expect([...store.view().tasks.all()].map(({ id }) => id)).toEqual(['t2', 't3']);
});

test('a task moves between the indexes as it changes', async () => {
  const store = await open();
  await store.update((tx) => tx.put('tasks', aTask({ id: 't1', nodeId: '' })));

  await store.update((tx) => tx.put('tasks', { ...tx.tasks.get('t1')!, nodeId: 'n1' }));

  expect(store.view().tasks.byNode('')).toEqual([]);
  expect(store.view().tasks.byNode('n1')).toHaveLength(1);
});

test('a claim held by another owner is refused, one held by the same owner is not', async () => {
  const store = await open();
  await putService(store, 's1', 'web');

  const taken = putService(store, 's2', 'web').catch((error: ClusterError) => error.kind);
  const kept = store.update((tx) => tx.takeClaim('name/service/web', 'service/s1'));

  expect(await taken).toBe('alreadyExists');
  await expect(kept).resolves.toBeUndefined();
  expect(store.view().services.get('s2')).toBeUndefined();
});

test('of two managers that take one name at once, one gets it', async () => {
  const one = await open();
  const two = await open({ beside: one, managerId: 'manager-2' });

  const outcomes = await Promise.allSettled([putService(one, 's1', 'web'), putService(two, 's2', 'web')]);

  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect([...one.view().services.all()]).toHaveLength(1);
});

/** As loops and clients do: an update that lost too often is asked for again. */
async function untilKept(update: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await update();
    } catch (error) {
      if (!(error instanceof ClusterError) || error.kind !== 'aborted') throw error;
    }
  }
}

test('increments by two managers at once are all kept', async () => {
  const one = await open();
  const two = await open({ beside: one, managerId: 'manager-2' });
  await putService(one, 's1', 'web', 0);
  await two.read();

  const increment = async (store: Store) => {
    for (let count = 0; count < 20; count++) {
      await untilKept(() =>
        store.update((tx) => {
          const service = tx.services.get('s1')!;
          tx.put('services', withReplicas(service, service.spec!.replicas + 1));
        }),
      );
    }
  };
  await Promise.all([increment(one), increment(two)]);

  expect((await one.read()).services.get('s1')?.spec?.replicas).toBe(40);
});

test('many increments of one object by one manager are all kept, without losing to each other', async () => {
  const store = await open();
  await putService(store, 's1', 'web', 0);

  await Promise.all(
    Array.from({ length: 50 }, () =>
      store.update((tx) => {
        const service = tx.services.get('s1')!;
        tx.put('services', withReplicas(service, service.spec!.replicas + 1));
      }),
    ),
  );

  expect(store.view().services.get('s1')?.spec?.replicas).toBe(50);
});

test('a commit is refused when what it required has changed, and decided again', async () => {
  const clock = new FakeClock();
  const one = await openMemoryStore(clock);
  const two = await openMemoryStore(clock, { beside: one, managerId: 'manager-2' });
  await one.update((tx) => tx.put('nodes', aNode({ id: 'n1', availability: 'active' })));
  await two.read();
  two.kv.faults.watchDelayMs = () => 100;
  await one.update((tx) => tx.put('nodes', aNode({ id: 'n1', availability: 'drain' })));

  const placed = two.update((tx) => {
    tx.require('nodes', 'n1');
    if (tx.nodes.get('n1')?.availability !== 'active') return 'refused';
    tx.put('tasks', aTask({ id: 't1', nodeId: 'n1' }));
    return 'placed';
  });
  await clock.advanceAsync(1_000);

  expect(await placed).toBe('refused');
  expect(one.view().tasks.size).toBe(0);
});

test('a thousand updates at once share requests, each within what etcd takes', async () => {
  const store = await open();
  const txns = countTxns(store);

  await Promise.all(
    Array.from({ length: 1_000 }, (_, index) =>
      store.update((tx) => tx.put('tasks', aTask({ id: `t${index}` }))),
    ),
  );

  expect(store.view().tasks.size).toBe(1_000);
  expect(txns()).toBeLessThan(15);
});

test('one change that fails leaves the others of its batch alone', async () => {
  const store = await open();
  const outcomes = await Promise.allSettled([
    putService(store, 's0', 'first'),
    putService(store, 's1', 'web'),
    store.update(() => {
      throw new ClusterError('invalidArgument', 'no');
    }),
    putService(store, 's2', 'web'),
    putService(store, 's3', 'db'),
  ]);

  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ]);
});

test('a removal and a new reference to what is removed never both hold', async () => {
  const store = await open();
  await store.update((tx) => tx.put('nodes', aNode({ id: 'n1' })));

  const results = await Promise.allSettled([
    store.update((tx) => tx.put('nodes', aNode({ id: 'other' }))),
    store.update((tx) => tx.delete('nodes', 'n1')),
    store.update((tx) => {
      if (!tx.nodes.get('n1')) throw new ClusterError('notFound', 'no node');
      tx.require('nodes', 'n1');
      tx.put('tasks', aTask({ id: 't1', nodeId: 'n1' }));
    }),
  ]);

  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
});

test('a transaction too large for etcd is refused as a whole', async () => {
  const store = await open();

  const huge = store.update((tx) => {
    for (let index = 0; index < 127; index++) tx.put('tasks', aTask({ id: `t${index}` }));
  });

  await expect(huge).rejects.toMatchObject({ kind: 'resourceExhausted' });
  expect(store.view().tasks.size).toBe(0);
});

test('subscribers hear each revision once, in order, with what was there before', async () => {
  const store = await open({ faults: { repeatEvents: () => true } });
  const heard: { revision: number; changes: readonly Change[] }[] = [];
  store.subscribe((changes, view) => heard.push({ revision: view.revision, changes }));

  await putService(store, 's1', 'web');
  await store.update((tx) => tx.put('services', withReplicas(tx.services.get('s1')!, 2)));
  await store.update((tx) => tx.delete('services', 's1'));

  const shape = heard.map(({ changes }) =>
    changes.map(({ kind, id, before, after }) => [
      kind,
      id,
      (before as Service | undefined)?.spec?.replicas,
      (after as Service | undefined)?.spec?.replicas,
    ]),
  );
  expect(shape).toEqual([
    [['services', 's1', undefined, 1]],
    [['services', 's1', 1, 2]],
    [['services', 's1', 2, undefined]],
  ]);
  expect(heard.map(({ revision }) => revision)).toEqual([...heard.map(({ revision }) => revision)].sort());
});

test('a read waits for what another manager has committed', async () => {
  const clock = new FakeClock();
  const one = await openMemoryStore(clock);
  const two = await openMemoryStore(clock, { beside: one, managerId: 'manager-2' });
  two.kv.faults.watchDelayMs = () => 50;
  await putService(one, 's1', 'web');
  expect(two.view().services.size).toBe(0);

  const read = two.read();
  await clock.advanceAsync(60);

  expect((await read).services.get('s1')).toBeDefined();
});

test('reads that wait together share one request', async () => {
  const store = await open();
  let ranges = 0;
  store.kv.faults.fate = (call) => {
    if (call === 'range') ranges++;
    return 'answer';
  };

  await Promise.all(Array.from({ length: 100 }, () => store.read()));

  expect(ranges).toBe(2);
});

test('a list that was handed out does not change under its reader', async () => {
  const store = await open();
  await store.update((tx) => tx.put('tasks', aTask({ id: 't1' })));
  const before = store.view().tasks.all();

  await store.update((tx) => tx.put('tasks', aTask({ id: 't2' })));

  expect([...before]).toHaveLength(1);
  expect([...store.view().tasks.all()]).toHaveLength(2);
});

test('a writer behind a watch that has fallen silent has it started again, though nobody reads', async () => {
  const clock = new FakeClock();
  const other = await openMemoryStore(clock);
  const kv = other.kv.connect();
  let isSilent = false;
  let restarts = 0;
  const watch = kv.watch.bind(kv);
  kv.watch = (prefix, fromRevision, handler) => {
    let heardUpTo = fromRevision - 1;
    const open = () =>
      watch(prefix, heardUpTo + 1, {
        ...handler,
        onEvents: (revision, events) => {
          if (isSilent) return;
          heardUpTo = revision;
          handler.onEvents(revision, events);
        },
      });
    let current = open();
    const restart = () => {
      restarts++;
      isSilent = false;
      current.close();
      current = open();
    };
    return { close: () => current.close(), restart };
  };
  const store = await openMemoryStore(clock, { managerId: 'manager-2', kv });
  await store.update((tx) => tx.put('nodes', aNode({ id: 'n1' })));

  isSilent = true;
  // A revision that only the watch could have told of.
  await other.update((tx) => tx.put('nodes', aNode({ id: 'n2' })));
  const written = store.update((tx) => tx.put('nodes', aNode({ id: 'n3' })));
  await clock.advanceAsync(5_000);
  await written;

  expect(restarts).toBe(1);
  expect(['n1', 'n2', 'n3'].every((id) => store.view().nodes.get(id))).toBe(true);
});
