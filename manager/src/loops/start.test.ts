import { silentLogger } from '@tessera/shared/env';
import { Cluster, Network, type Service, SpecVersion, type TaskSpec } from '@tessera/shared/model';
import { aNode, aNodeStatus, aService, aTaskSpec, FakeClock, SeededRandom } from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import { startLoops } from './start.js';

const ended = new AbortController();
afterEach(() => ended.abort());

async function openCluster(nodeCount: number) {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    tx.put(
      'cluster',
      Cluster.fromPartial({ id: 'cluster-1', incarnation: 1, spec: { taskHistoryLimit: 5 } }),
    );
    for (let index = 1; index <= nodeCount; index++) {
      tx.put('nodes', aNode({ id: `node-${index}`, name: `host${index}` }));
      tx.put('nodeStatuses', aNodeStatus({ nodeId: `node-${index}` }));
    }
  });
  const stop = new AbortController();
  ended.signal.addEventListener('abort', () => stop.abort());
  const start = () => startLoops(store, clock, new SeededRandom(1), silentLogger, stop.signal);
  return { clock, store, start };
}

function createService(
  store: MemoryStore,
  spec: Partial<Service['spec']> & object,
  task: Partial<TaskSpec> = {},
) {
  return store.update((tx) => {
    const service = aService({ id: 's1' }, { ...spec, task: aTaskSpec(task) });
    tx.put('services', service);
    tx.put('specs', SpecVersion.fromPartial({ serviceId: 's1', version: 1, task: service.spec!.task! }));
  });
}

async function until(store: MemoryStore, isTrue: () => boolean): Promise<void> {
  if (isTrue()) return;
  await new Promise<void>((resolve) => {
    const end = store.subscribe(() => {
      if (!isTrue()) return;
      end();
      resolve();
    });
  });
}

test('a new service has its tasks assigned evenly, in few transactions', async () => {
  const { store, start } = await openCluster(3);
  await start();
  const before = store.view().revision;

  await createService(store, { replicas: 100 });
  await until(
    store,
    () =>
      store
        .view()
        .tasks.byService('s1')
        .filter((task) => task.state === 'assigned').length === 100,
  );

  const tasks = store.view().tasks.byService('s1');
  expect(tasks.map(({ slot }) => slot).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  const perNode = ['node-1', 'node-2', 'node-3'].map((id) => store.view().tasks.byNode(id).length);
  expect(perNode.sort()).toEqual([33, 33, 34]);
  expect(store.view().revision - before).toBeLessThanOrEqual(12);
});

test('tasks on a network get addresses of their own, with their MAC', async () => {
  const { store, start } = await openCluster(3);
  await start();
  await store.update((tx) =>
    tx.put('networks', Network.fromPartial({ id: 'n1', spec: { name: 'shop', driver: 'overlay' } })),
  );

  await createService(store, { replicas: 100 }, { networks: [{ networkId: 'n1', aliases: [] }] });
  await until(
    store,
    () =>
      store
        .view()
        .tasks.byService('s1')
        .filter((task) => task.state === 'assigned').length === 100,
  );

  const view = store.view();
  expect(view.networkStatuses.get('n1')).toMatchObject({
    vni: 4_097,
    pools: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }],
  });
  const addresses = view.tasks.byService('s1').map((task) => task.networks[0]!.addr);
  expect(new Set(addresses).size).toBe(100);
  expect(view.serviceStatuses.get('s1')?.virtualIps).toHaveLength(1);
  for (const task of view.tasks.byService('s1')) {
    const [address] = task.networks[0]!.addr.split('/');
    expect(view.claim(`ip/n1/${address}`)).toBe(`task/${task.id}`);
    expect(task.networks[0]!.mac).toMatch(/^02:42:0a:00:01:/);
  }
});
