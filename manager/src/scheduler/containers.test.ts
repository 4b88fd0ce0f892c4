import { silentLogger } from '@tessera/shared/env';
import { Image, Placement } from '@tessera/shared/model';
import { aContainer, aContainerPlacement, aContainerState, FakeClock, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { runLoop } from '../loops/leader-loop.js';
import type { MemoryStore } from '../store/testing/index.js';
import { NodeSet } from './node-set.js';
import { schedulerLoop } from './scheduler.js';
import { openScheduling, putPending } from './testing/index.js';

const GIB = 2 ** 30;

async function schedule(store: MemoryStore): Promise<void> {
  const ending = new AbortController();
  const clock = new FakeClock();
  const loop = runLoop(schedulerLoop(store, clock), {
    store,
    clock,
    logger: silentLogger,
    signal: ending.signal,
  });
  await loop.idle();
  await settle();
}

const put = (store: MemoryStore, ...parts: Parameters<typeof aContainer>[0][]) =>
  store.update((tx) => {
    for (const part of parts) tx.put('containers', aContainer(part));
  });

const reserving = (memoryBytes: number) => ({
  host: { resources: { memoryReservationBytes: memoryBytes } } as never,
});
const placementOf = (store: MemoryStore, id: string) => store.view().containerPlacements.get(id);

test('containers are spread over the nodes, tasks counted, and told when they were placed', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  await putPending(store, 's1', 1, {}, { state: 'assigned', nodeId: 'a' });
  await put(store, { id: 'c1' }, { id: 'c2' }, { id: 'c3' });

  await schedule(store);

  const nodes = ['c1', 'c2', 'c3'].map((id) => placementOf(store, id)?.nodeId);
  expect(nodes).toEqual(['b', 'a', 'b']);
  expect(placementOf(store, 'c1')?.placedAtMs).toBeGreaterThan(0);
});

test('a container that comes while the loop runs is placed at once', async () => {
  const store = await openScheduling({ a: {} });
  await schedule(store);

  await put(store, { id: 'c1' });
  await settle();

  expect(placementOf(store, 'c1')?.nodeId).toBe('a');
});

test('a container that fits nowhere is told why, once, and not tried again by itself', async () => {
  const store = await openScheduling({ a: { memoryBytes: GIB }, b: { state: 'down' } });
  await put(store, { id: 'c1', ...reserving(2 * GIB) });

  await schedule(store);
  expect(placementOf(store, 'c1')).toMatchObject({
    nodeId: '',
    pendingReason: 'no suitable node (1 node not available for new tasks; insufficient resources on 1 node)',
  });

  await store.update((tx) => tx.put('nodeStatuses', { ...tx.nodeStatuses.get('b')!, state: 'ready' }));
  await settle();
  expect(placementOf(store, 'c1')?.nodeId).toBe('');
});

test('what containers reserve is not given to tasks, until they are deleted', async () => {
  const store = await openScheduling({ a: { memoryBytes: 3 * GIB } });
  await put(store, { id: 'c1', ...reserving(2 * GIB) });
  await schedule(store);
  await putPending(store, 's1', 1, {
    resources: { limits: undefined, reservations: { nanoCpus: 0, memoryBytes: 2 * GIB, pids: 0 } },
  });
  await settle();
  expect(store.view().tasks.get('s1-1')?.nodeId).toBe('');

  await store.update((tx) => {
    tx.delete('containers', 'c1');
    tx.delete('containerPlacements', 'c1');
  });
  await settle();

  expect(store.view().tasks.get('s1-1')?.nodeId).toBe('a');
});

test('constraints hold for containers as for tasks', async () => {
  const store = await openScheduling({ a: {}, b: { labels: { disk: 'ssd' } } });
  const placement = Placement.fromPartial({ constraints: ['node.labels.disk==ssd'] });
  await put(store, { id: 'c1', placement }, { id: 'c2', placement });

  await schedule(store);

  expect([placementOf(store, 'c1')?.nodeId, placementOf(store, 'c2')?.nodeId]).toEqual(['b', 'b']);
});

test('a container goes where those are that it uses, and nowhere else', async () => {
  const store = await openScheduling({ a: {}, b: {}, c: {} });
  await put(store, { id: 'c1' }, { id: 'c2', name: 'web' });
  await schedule(store);
  expect(placementOf(store, 'c2')?.nodeId).toBe('b');
  const besides = (...coLocatedWith: string[]) => ({ placement: Placement.fromPartial({ coLocatedWith }) });

  await put(store, { id: 'd1', ...besides('c2') }, { id: 'd2', ...besides('c2') });
  await put(store, { id: 'd3', ...besides('c1', 'c2') }, { id: 'd4', ...besides('gone') });
  await settle();

  expect([placementOf(store, 'd1')?.nodeId, placementOf(store, 'd2')?.nodeId]).toEqual(['b', 'b']);
  expect(placementOf(store, 'd3')?.pendingReason).toMatch(
    /container \S+ is not on 2 nodes; container web is not on 1 node/,
  );
  expect(placementOf(store, 'd4')?.pendingReason).toBe('no suitable node (container gone is not on 3 nodes)');
});

const asking = (placement: Partial<Placement>) => ({ placement: Placement.fromPartial(placement) });

test('affinities look at names, labels and images of what is there, soft ones only prefer', async () => {
  const store = await openScheduling({ a: {}, b: { images: ['sha256:r'] }, c: {} });
  await store.update((tx) =>
    tx.put('images', Image.fromPartial({ id: 'sha256:r', names: ['docker.io/library/redis:7'] })),
  );
  const labelled = { spec: { labels: { tier: 'front' } } as never };
  await put(store, { id: 'c1', name: 'web', ...labelled }, { id: 'c2', name: 'db' });
  await schedule(store);
  expect([placementOf(store, 'c1')?.nodeId, placementOf(store, 'c2')?.nodeId]).toEqual(['a', 'b']);

  await put(
    store,
    { id: 'd1', ...asking({ affinityExpressions: ['container==web'] }) },
    { id: 'd2', ...asking({ affinityExpressions: ['tier!=front', 'container!=d*'] }) },
    { id: 'd3', ...asking({ affinityExpressions: ['image==redis'] }) },
    { id: 'd4', ...asking({ affinityExpressions: ['container==~db', 'image==~redis:7', 'tier==~front'] }) },
    { id: 'd5', ...asking({ affinityExpressions: ['container==nobody'] }) },
    { id: 'd6', ...asking({ affinityExpressions: ['container==~nobody'] }) },
    { id: 'd7', ...asking({ affinityExpressions: ['container==b/d*'] }) },
    { id: 'd8', ...asking({ affinityExpressions: ['container==a/db'] }) },
  );
  await settle();

  const nodes = ['d1', 'd2', 'd3', 'd4', 'd6', 'd7', 'd8'].map((id) => placementOf(store, id)?.nodeId);
  expect(nodes).toEqual(['a', 'c', 'b', 'b', 'c', 'b', '']);
  expect(placementOf(store, 'd5')?.pendingReason).toBe(
    'no suitable node (affinity container==nobody not satisfied on 3 nodes)',
  );
});

test('those that are to keep apart do so even when they are placed in one breath', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  const part = {
    spec: { labels: { app: 'web' } } as never,
    ...asking({ affinityExpressions: ['app!=web'] }),
  };
  await put(store, { id: 'c1', ...part }, { id: 'c2', ...part }, { id: 'c3', ...part });

  await schedule(store);

  expect(['c1', 'c2', 'c3'].map((id) => placementOf(store, id)?.nodeId)).toEqual(['a', 'b', '']);
});

test('each thing that could not be met is named, with the number of nodes it ruled out', async () => {
  const store = await openScheduling({ a: { labels: { zone: 'x' } }, b: {}, c: {} });
  const nodeExpressions = ['zone==x', 'node!=a'];
  await put(store, { id: 'c1', ...asking({ nodeExpressions }) });

  await schedule(store);

  expect(placementOf(store, 'c1')?.pendingReason).toBe(
    'no suitable node (constraint zone==x not satisfied on 2 nodes; constraint node!=a not satisfied on 1 node)',
  );
});

const publishing = (hostPort: number, hostIp = '', protocol = 'tcp') => ({
  host: { networkMode: 'bridge', ports: [{ protocol, containerPort: 80, hostIp, hostPort }] } as never,
});

test('a port of the host is given once per node, whatever was decided in the same breath', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  await put(store, { id: 'c1', ...publishing(8080) }, { id: 'c2', ...publishing(8080) });
  await put(store, { id: 'c3', ...publishing(8080) }, { id: 'c4', ...publishing(8080, '', 'udp') });

  await schedule(store);

  expect([placementOf(store, 'c1')?.nodeId, placementOf(store, 'c2')?.nodeId]).toEqual(['a', 'b']);
  expect(placementOf(store, 'c3')?.pendingReason).toBe(
    'no suitable node (port 8080/tcp already in use on 2 nodes)',
  );
  expect(placementOf(store, 'c4')?.nodeId).toBe('a');
});

test("addresses of the host have ports of their own, what runs holds those chosen for it, a free port is anyone's", async () => {
  const store = await openScheduling({ a: {} });
  await put(store, { id: 'c1', ...publishing(8080, '10.0.0.1') }, { id: 'c2', ...publishing(0) });
  await schedule(store);
  const ports = [{ protocol: 'tcp', containerPort: 80, hostIp: '0.0.0.0', hostPort: 32768 }];
  await store.update((tx) => tx.put('containerStates', aContainerState({ containerId: 'c2', ports })));

  await put(store, { id: 'd1', ...publishing(8080, '10.0.0.2') }, { id: 'd2', ...publishing(8080) });
  await put(store, { id: 'd3', ...publishing(32768) }, { id: 'd4', ...publishing(0) });
  await settle();

  const placed = ['d1', 'd2', 'd3', 'd4'].map((id) => placementOf(store, id)?.nodeId);
  expect(placed).toEqual(['a', '', '', 'a']);
});

test("on the host's own network what a container exposes is what it takes", async () => {
  const store = await openScheduling({ a: {}, b: {} });
  const onHost = { exposedPorts: ['53/udp'], host: { networkMode: 'host', ports: [] } as never };
  await put(store, { id: 'c1', ...onHost }, { id: 'c2', ...onHost }, { id: 'c3', ...onHost });

  await schedule(store);

  expect([placementOf(store, 'c1')?.nodeId, placementOf(store, 'c2')?.nodeId]).toEqual(['a', 'b']);
  expect(placementOf(store, 'c3')?.pendingReason).toMatch('port 53/udp already in use on 2 nodes');
});

test('one that waits for its addresses, is being removed or has been placed is left alone', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  await put(
    store,
    { id: 'c1', networks: [{ networkId: 'n1', aliases: [] }] },
    { id: 'c2', removing: true },
    { id: 'c3' },
  );
  await store.update((tx) =>
    tx.put('containerPlacements', aContainerPlacement({ containerId: 'c3', nodeId: 'b' })),
  );

  await schedule(store);

  expect(placementOf(store, 'c1')).toBeUndefined();
  expect(placementOf(store, 'c2')).toBeUndefined();
  expect(placementOf(store, 'c3')?.nodeId).toBe('b');
});

test('three hundred at once are all placed, in transactions that etcd takes', async () => {
  const store = await openScheduling({ a: {}, b: {}, c: {} });
  const ids = Array.from({ length: 300 }, (_, number) => `c${String(number).padStart(3, '0')}`);
  for (let at = 0; at < ids.length; at += 100)
    await put(store, ...ids.slice(at, at + 100).map((id) => ({ id })));

  await schedule(store);

  const perNode = new NodeSet(store.view())
    .entries()
    .map((entry) => new NodeSet(store.view()).taskCount(entry));
  expect(perNode).toEqual([100, 100, 100]);
});
