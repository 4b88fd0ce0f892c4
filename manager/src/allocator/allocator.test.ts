import { silentLogger } from '@tessera/shared/env';
import { type IpamPool, Network, Service, SpecVersion, type Task } from '@tessera/shared/model';
import { aNode, aNodeStatus, aService, aTask, aTaskSpec, FakeClock, settle } from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { runLoop } from '../loops/leader-loop.js';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import { allocatorLoop } from './allocator.js';

const stop = new AbortController();
afterEach(() => settle());

async function anAllocator() {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  const start = () => {
    const ending = new AbortController();
    stop.signal.addEventListener('abort', () => ending.abort());
    const loop = runLoop(allocatorLoop(store), { store, clock, logger: silentLogger, signal: ending.signal });
    return { loop, end: () => ending.abort() };
  };
  return { store, start };
}

const putNetwork = (store: MemoryStore, id: string, ipam: IpamPool[] = []) =>
  store.update((tx) =>
    tx.put('networks', Network.fromPartial({ id, spec: { name: id, driver: 'overlay', ipam } })),
  );

/** A service on the networks, with tasks of the given ids. */
const putTasks = (
  store: MemoryStore,
  ids: readonly string[],
  networkIds: readonly string[],
  serviceId = 's1',
) =>
  store.update((tx) => {
    const task = aTaskSpec({ networks: networkIds.map((networkId) => ({ networkId, aliases: [] })) });
    tx.put('services', aService({ id: serviceId }, { name: serviceId, task }));
    tx.put('specs', SpecVersion.fromPartial({ serviceId, version: 1, task }));
    for (const [index, id] of ids.entries()) {
      tx.put('tasks', aTask({ id, serviceId, slot: index + 1, spec: undefined } as Partial<Task>));
    }
  });

const addrOf = (store: MemoryStore, id: string) => store.view().tasks.get(id)?.networks[0]?.addr;
const small = (subnet: string): IpamPool => ({ subnet, gateway: '', ipRange: '' });

test('a task without networks is pending at once', async () => {
  const { store, start } = await anAllocator();
  await putTasks(store, ['t1'], []);

  await start().loop.idle();

  expect(store.view().tasks.get('t1')).toMatchObject({ state: 'pending', networks: [] });
});

test('networks get subnets that do not overlap and numbers of their own', async () => {
  const { store, start } = await anAllocator();
  for (const id of ['n1', 'n2', 'n3']) await putNetwork(store, id);

  await start().loop.idle();

  const statuses = ['n1', 'n2', 'n3'].map((id) => store.view().networkStatuses.get(id)!);
  expect(new Set(statuses.map(({ vni }) => vni)).size).toBe(3);
  expect(new Set(statuses.map(({ pools }) => pools[0]!.subnet)).size).toBe(3);
  expect(statuses.every(({ mtu }) => mtu === 1_450)).toBe(true);
  expect(store.view().claim(`vni/${statuses[0]!.vni}`)).toBe('network/n1');
});

test('no network gets a subnet that holds the address of a node', async () => {
  const { store, start } = await anAllocator();
  await store.update((tx) => {
    tx.put('nodes', aNode({ id: 'node-1', name: 'host1' }));
    const description = { ...aNodeStatus().description!, dataPathAddr: '10.0.2.9' };
    tx.put('nodeStatuses', aNodeStatus({ addr: '10.0.1.7', managerAddr: '10.0.4.1:2377', description }));
  });
  for (const id of ['n1', 'n2']) await putNetwork(store, id);
  await putNetwork(store, 'n3', [small('10.0.0.0/16')]);

  await start().loop.idle();

  const status = (id: string) => store.view().networkStatuses.get(id);
  expect(status('n1')?.pools[0]?.subnet).toBe('10.0.3.0/24');
  expect(status('n2')?.pools[0]?.subnet).toBe('10.0.5.0/24');
  expect(status('n3')?.error).toContain('10.0.0.0/16 holds 10.0.1.7, the address of node host1');
});

test('a subnet that overlaps another one is refused, and given once that one is gone', async () => {
  const { store, start } = await anAllocator();
  await putNetwork(store, 'n1', [small('10.20.0.0/16')]);
  const { loop } = start();
  await loop.idle();

  await putNetwork(store, 'n2', [small('10.20.5.0/24')]);
  await settle();
  expect(store.view().networkStatuses.get('n2')?.error).toMatch(
    /Pool overlaps with other one.*10\.20\.5\.0\/24 and 10\.20\.0\.0\/16 of network n1/,
  );

  await store.update((tx) => {
    tx.delete('networks', 'n1');
    tx.delete('networkStatuses', 'n1');
    tx.releaseClaim('vni/4097');
    tx.releaseClaim('subnet/10.20.0.0');
  });
  await settle();
  expect(store.view().networkStatuses.get('n2')).toMatchObject({
    error: '',
    pools: [{ subnet: '10.20.5.0/24' }],
  });
});

test('a task that finds no address says which network has none, and gets one when it is given back', async () => {
  const { store, start } = await anAllocator();
  // Of eight: the network, the gateway, the broadcast and the virtual address leave four.
  await putNetwork(store, 'n1', [small('10.20.0.0/29')]);
  await putTasks(store, ['t1', 't2', 't3', 't4', 't5'], ['n1']);
  await start().loop.idle();
  const waiting = ['t1', 't2', 't3', 't4', 't5'].filter((id) => !addrOf(store, id));
  expect(waiting).toHaveLength(1);
  expect(store.view().tasks.get(waiting[0]!)).toMatchObject({
    state: 'new',
    pendingReason: "no available IPv4 addresses on this network's address pools: n1 (10.20.0.0/29)",
  });

  const freed = addrOf(store, 't1') ? 't1' : 't2';
  const address = addrOf(store, freed)!;
  await store.update((tx) => {
    tx.delete('tasks', freed);
    tx.releaseClaim(`ip/n1/${address.split('/')[0]}`);
  });
  await settle();

  expect(store.view().tasks.get(waiting[0]!)).toMatchObject({ state: 'pending', pendingReason: '' });
  expect(addrOf(store, waiting[0]!)).toBe(address);
});

test('an address given back is not handed out again while others are free', async () => {
  const { store, start } = await anAllocator();
  await putNetwork(store, 'n1', [small('10.20.0.0/28')]);
  await putTasks(store, ['t1'], ['n1']);
  const { loop } = start();
  await loop.idle();
  const first = addrOf(store, 't1')!;
  await store.update((tx) => {
    tx.delete('tasks', 't1');
    tx.releaseClaim(`ip/n1/${first.split('/')[0]}`);
  });

  await putTasks(store, ['t2'], ['n1']);
  await settle();

  expect(addrOf(store, 't2')).toBeDefined();
  expect(addrOf(store, 't2')).not.toBe(first);
});

test('a new leader hands out nothing that the last one did', async () => {
  const { store, start } = await anAllocator();
  await putNetwork(store, 'n1');
  await putTasks(store, ['t1', 't2'], ['n1']);
  const first = start();
  await first.loop.idle();
  first.end();

  await putTasks(store, ['t3', 't4'], ['n1'], 's2');
  await start().loop.idle();

  const addresses = ['t1', 't2', 't3', 't4'].map((id) => addrOf(store, id));
  expect(new Set(addresses).size).toBe(4);
  expect(addresses).not.toContain(undefined);
});

test('a claim whose owner is gone does not keep an address for ever', async () => {
  const { store, start } = await anAllocator();
  await putNetwork(store, 'n1', [small('10.20.0.0/30')]);
  await store.update((tx) => tx.takeClaim('ip/n1/10.20.0.2', 'task/long-gone'));
  await store.update((tx) => {
    const task = aTaskSpec({ networks: [{ networkId: 'n1', aliases: [] }] });
    const spec = { name: 's1', task, endpoint: { mode: 'dnsrr' as const } };
    tx.put('services', Service.fromPartial({ id: 's1', spec, specVersion: 1 }));
    tx.put('specs', SpecVersion.fromPartial({ serviceId: 's1', version: 1, task }));
    tx.put('tasks', aTask({ id: 't1', serviceId: 's1' }));
  });

  await start().loop.idle();

  expect(addrOf(store, 't1')).toBe('10.20.0.2/30');
  expect(store.view().claim('ip/n1/10.20.0.2')).toBe('task/t1');
});

test('a service that leaves a network gives its virtual address back', async () => {
  const { store, start } = await anAllocator();
  await putNetwork(store, 'n1');
  await putTasks(store, [], ['n1']);
  await start().loop.idle();
  const [ip] = store.view().serviceStatuses.get('s1')!.virtualIps;
  const claim = `ip/n1/${ip!.addr.split('/')[0]}`;
  expect(store.view().claim(claim)).toBe('service/s1');

  await putTasks(store, [], []);
  await settle();

  expect(store.view().serviceStatuses.get('s1')!.virtualIps).toEqual([]);
  expect(store.view().claim(claim)).toBeUndefined();
});
