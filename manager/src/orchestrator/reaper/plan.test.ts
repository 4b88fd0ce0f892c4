import { Cluster, Network, SpecVersion, type Task } from '@tessera/shared/model';
import { aNode, aNodeStatus, aService, aTask, aTaskStatus, FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';
import { isServiceDone, planReap, unusedSpecs } from './plan.js';
import { reaperLoop } from './reaper.js';

interface Parts extends Partial<Task> {
  readonly number: number;
  readonly observed?: 'running' | 'failed' | 'shutdown';
}

async function aStore(historyLimit: number, tasks: readonly Parts[], removing = false): Promise<MemoryStore> {
  const store = await openMemoryStore(new FakeClock());
  await store.update((tx) => {
    tx.put('cluster', Cluster.fromPartial({ id: 'c', spec: { taskHistoryLimit: historyLimit } }));
    tx.put('nodes', aNode());
    tx.put('nodeStatuses', aNodeStatus());
    tx.put('services', aService({ id: 's1', removing, specVersion: 4 }));
    for (const { number, observed, ...rest } of tasks) {
      const id = `t${rest.slot ?? 1}.${number}`;
      tx.put(
        'tasks',
        aTask({
          id,
          serviceId: 's1',
          nodeId: 'node-1',
          state: 'assigned',
          epoch: { incarnation: 1, number },
          ...rest,
        }),
      );
      if (observed) tx.put('taskStatuses', aTaskStatus({ taskId: id, state: observed, nodeId: 'node-1' }));
    }
  });
  return store;
}

const idsOf = (tasks: readonly Task[]) => tasks.map(({ id }) => id).sort();
const past = (number: number): Parts => ({ number, desiredState: 'shutdown', observed: 'failed' });

test('a slot keeps as many tasks as the limit says, its last one included', async () => {
  const tasks = [past(1), past(2), past(3), { number: 4, observed: 'running' as const }];

  expect(idsOf(planReap((await aStore(5, tasks)).view(), 's1'))).toEqual([]);
  expect(idsOf(planReap((await aStore(2, tasks)).view(), 's1'))).toEqual(['t1.1', 't1.2']);
  expect(idsOf(planReap((await aStore(0, tasks)).view(), 's1'))).toEqual(['t1.1', 't1.2', 't1.3']);
});

test('the last task of a slot stays although it has ended: it holds the slot', async () => {
  expect(idsOf(planReap((await aStore(0, [past(1), past(2)])).view(), 's1'))).toEqual(['t1.1']);
});

test('a task still running is no history, however old', async () => {
  const stopping = { number: 1, desiredState: 'shutdown' as const, observed: 'running' as const };

  expect(planReap((await aStore(1, [stopping, { number: 2 }])).view(), 's1')).toEqual([]);
});

test('a task that has to go is deleted once it has stopped, or has never been on a node', async () => {
  const store = await aStore(5, [
    { number: 1, slot: 1, desiredState: 'remove', observed: 'running' },
    { number: 1, slot: 2, desiredState: 'remove', observed: 'shutdown' },
    { number: 1, slot: 3, desiredState: 'remove', state: 'pending', nodeId: '' },
    { number: 1, slot: 4, desiredState: 'shutdown', state: 'pending', nodeId: '' },
    { number: 1, slot: 5, desiredState: 'remove', nodeId: 'node-gone' },
  ]);

  expect(idsOf(planReap(store.view(), 's1'))).toEqual(['t2.1', 't3.1', 't4.1', 't5.1']);
});

test('templates go when neither a task nor the current or previous spec needs them', async () => {
  const store = await aStore(5, [{ number: 1, specVersion: 2 }]);
  await store.update((tx) => {
    for (const version of [1, 2, 3, 4])
      tx.put('specs', SpecVersion.fromPartial({ serviceId: 's1', version }));
    tx.put('specs', SpecVersion.fromPartial({ serviceId: 's2', version: 1 }));
  });

  expect(unusedSpecs(store.view(), 's1')).toEqual(['s1/1']);
  expect(unusedSpecs(store.view(), 's2')).toEqual(['s2/1']);
});

test('a removed service is forgotten while its tasks on nodes that are down are kept', async () => {
  const store = await aStore(5, [{ number: 1, desiredState: 'remove', observed: 'running' }], true);
  expect(isServiceDone(store.view(), store.view().services.get('s1')!)).toBe(false);

  await store.update((tx) => tx.put('nodeStatuses', aNodeStatus({ state: 'down' })));

  expect(isServiceDone(store.view(), store.view().services.get('s1')!)).toBe(true);
});

test('a removed service goes with its status and claims, and leaves its successor the name', async () => {
  const store = await aStore(5, [], true);
  await store.update((tx) => {
    tx.put('serviceStatuses', {
      serviceId: 's1',
      virtualIps: [{ networkId: 'n1', addr: '10.0.1.2/24' }],
      update: undefined,
    });
    tx.takeClaim('ip/n1/10.0.1.2', 'service/s1');
    tx.takeClaim('name/service/web', 'service/s2');
  });

  await reaperLoop(store).reconcile('service/s1');

  const view = store.view();
  expect(view.services.get('s1')).toBeUndefined();
  expect(view.serviceStatuses.get('s1')).toBeUndefined();
  expect(view.claim('ip/n1/10.0.1.2')).toBeUndefined();
  expect(view.claim('name/service/web')).toBe('service/s2');
});

test('a task is deleted with its status and addresses', async () => {
  const networks = [{ networkId: 'n1', addr: '10.0.1.7/24', mac: '', aliases: [] }];
  const store = await aStore(5, [{ number: 1, desiredState: 'remove', observed: 'shutdown', networks }]);
  await store.update((tx) => tx.takeClaim('ip/n1/10.0.1.7', 'task/t1.1'));

  const { worked } = await reaperLoop(store).reconcile('service/s1');

  expect(worked).toBe(true);
  expect([...store.view().tasks.all(), ...store.view().taskStatuses.all()]).toEqual([]);
  expect(store.view().claim('ip/n1/10.0.1.7')).toBeUndefined();
});

test('a removed network goes when no service or task is on it any more', async () => {
  const networks = [{ networkId: 'n1', addr: '10.0.1.7/24', mac: '', aliases: [] }];
  const store = await aStore(5, [{ number: 1, networks }]);
  await store.update((tx) => {
    tx.put('networks', Network.fromPartial({ id: 'n1', spec: { name: 'shop' }, removing: true }));
    tx.put('networkStatuses', {
      networkId: 'n1',
      vni: 4_097,
      pools: [{ subnet: '10.0.1.0/24', gateway: '', ipRange: '' }],
      mtu: 0,
      error: '',
    });
    tx.takeClaim('vni/4097', 'network/n1');
    tx.takeClaim('subnet/10.0.1.0', 'network/n1');
  });
  const reaper = reaperLoop(store);

  expect(await reaper.reconcile('network/n1')).toMatchObject({ worked: false });
  await store.update((tx) => tx.delete('tasks', 't1.1'));
  expect(await reaper.reconcile('network/n1')).toMatchObject({ worked: true });

  const view = store.view();
  expect([view.networks.get('n1'), view.networkStatuses.get('n1')]).toEqual([undefined, undefined]);
  expect([view.claim('vni/4097'), view.claim('subnet/10.0.1.0')]).toEqual([undefined, undefined]);
});
