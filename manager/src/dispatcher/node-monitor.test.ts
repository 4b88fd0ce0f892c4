import { silentLogger } from '@tessera/shared/env';
import { NodeStatus } from '@tessera/shared/model';
import { settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { openMemoryStore } from '../store/testing/index.js';
import { NodeMonitor } from './node-monitor.js';
import { aCluster, type FakeAgent, GRACE_MS, type TestCluster } from './testing/index.js';

/** The leader's monitor beside the dispatcher, in the same process as in production. */
function monitor(cluster: TestCluster): AbortController {
  const stop = new AbortController();
  const { store, clock } = cluster;
  new NodeMonitor({
    store,
    clock,
    logger: silentLogger,
    halted: () => cluster.halted,
    signal: stop.signal,
  });
  return stop;
}

const states = ({ store }: TestCluster) =>
  Object.fromEntries([...store.view().nodeStatuses.all()].map(({ nodeId, state }) => [nodeId, state]));

const downCount = (cluster: TestCluster) =>
  Object.values(states(cluster)).filter((state) => state === 'down').length;

async function aClusterOf(count: number): Promise<{ cluster: TestCluster; agents: FakeAgent[] }> {
  const cluster = await aCluster();
  const ids = Array.from({ length: count }, (_, index) => `node-${index}`);
  await cluster.addNodes(...ids);
  const agents = ids.map((id) => cluster.connect(id));
  await settle();
  return { cluster, agents };
}

test('a host that dies is down within half a second of its grace time', async () => {
  const { cluster, agents } = await aClusterOf(3);
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS, ...agents);
  const [, ...others] = agents;

  await cluster.pass(GRACE_MS - 500, ...others);
  expect(states(cluster)['node-0']).toBe('ready');
  await cluster.pass(1_000, ...others);

  expect(states(cluster)).toEqual({ 'node-0': 'down', 'node-1': 'ready', 'node-2': 'ready' });
});

test('a node that comes back is ready again', async () => {
  const { cluster, agents } = await aClusterOf(3);
  monitor(cluster);
  const [, ...others] = agents;
  await cluster.pass(3 * GRACE_MS, ...others);
  expect(states(cluster)['node-0']).toBe('down');

  const back = cluster.connect('node-0');
  await cluster.pass(2 * GRACE_MS, back, ...others);

  expect(states(cluster)['node-0']).toBe('ready');
});

test('sessions that end with their manager count one grace time before their nodes are down', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1');
  await cluster.store.update((tx) => {
    tx.put('nodeStatuses', NodeStatus.fromPartial({ nodeId: 'node-1', state: 'ready' }));
    tx.put('sessions', { nodeId: 'node-1', managerId: 'other', sessionId: 's', managerAddr: '' });
  });
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS);
  expect(states(cluster)['node-1']).toBe('ready');

  await cluster.store.update((tx) => tx.delete('sessions', 'node-1'));
  await cluster.pass(GRACE_MS - 500);
  expect(states(cluster)['node-1']).toBe('ready');
  await cluster.pass(1_000);

  expect(states(cluster)['node-1']).toBe('down');
});

test('a new leader waits a full grace time, even for nodes that were given up before', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1');
  await cluster.store.update((tx) =>
    tx.put('nodeStatuses', NodeStatus.fromPartial({ nodeId: 'node-1', state: 'disconnected' })),
  );

  monitor(cluster);
  await cluster.pass(GRACE_MS - 500);
  expect(states(cluster)['node-1']).toBe('disconnected');
  await cluster.pass(1_000);

  expect(states(cluster)['node-1']).toBe('down');
});

test('a manager that slept ten seconds has heard no silence', async () => {
  const { cluster, agents } = await aClusterOf(3);
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS, ...agents);

  // Stopped: no timer fires for ten seconds, then all that are due do at once, before anything is read.
  cluster.clock.sleep(10_000);
  await settle();
  await cluster.pass(1_000);
  for (const agent of agents) agent.beat();
  await cluster.pass(4 * GRACE_MS, ...agents);

  expect(downCount(cluster)).toBe(0);
  expect(agents.some(({ isClosed }) => isClosed)).toBe(false);
});

test('nothing is set down while the lease is unsure or etcd away', async () => {
  const { cluster } = await aClusterOf(3);
  monitor(cluster);
  await cluster.pass(2_000);

  cluster.halted = true;
  await cluster.pass(10 * GRACE_MS);

  expect(states(cluster)).toEqual({ 'node-0': 'ready', 'node-1': 'ready', 'node-2': 'ready' });
});

test('sessions lost with a lease and written again leave every node as it was', async () => {
  const { cluster, agents } = await aClusterOf(3);
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS, ...agents);

  await cluster.store.update((tx) => {
    for (const { nodeId } of [...tx.sessions.all()]) tx.delete('sessions', nodeId);
  });
  await cluster.pass(4 * GRACE_MS, ...agents);

  expect(downCount(cluster)).toBe(0);
  expect(cluster.store.view().sessions.size).toBe(3);
});

test('a node that has found another manager is not set down by a leader that has not heard of it yet', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1');
  await cluster.store.update((tx) =>
    tx.put('nodeStatuses', NodeStatus.fromPartial({ nodeId: 'node-1', state: 'ready' })),
  );
  monitor(cluster);
  await cluster.pass(GRACE_MS - 500);
  const other = await openMemoryStore(cluster.clock, { beside: cluster.store, managerId: 'manager-2' });
  cluster.store.kv.faults.watchDelayMs = () => 2_000;

  await other.update((tx) =>
    tx.put('sessions', { nodeId: 'node-1', managerId: 'manager-2', sessionId: 's', managerAddr: '' }),
  );
  await cluster.pass(3 * GRACE_MS);

  expect(other.view().nodeStatuses.get('node-1')?.state).toBe('ready');
});

test('when over a third of the nodes fall silent at once, one a grace time is set down', async () => {
  const { cluster, agents } = await aClusterOf(9);
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS, ...agents);
  const alive = agents.slice(5);

  await cluster.pass(GRACE_MS + 500, ...alive);
  const counts = [downCount(cluster)];
  for (let grace = 0; grace < 3; grace++) {
    await cluster.pass(GRACE_MS, ...alive);
    counts.push(downCount(cluster));
  }

  expect(counts).toEqual([1, 2, 3, 4]);
  await cluster.pass(30 * GRACE_MS, ...alive);
  expect(downCount(cluster)).toBe(5);
});

test('nodes that return during an outage are spared', async () => {
  const { cluster, agents } = await aClusterOf(9);
  monitor(cluster);
  await cluster.pass(2 * GRACE_MS, ...agents);
  const alive = agents.slice(5);
  await cluster.pass(GRACE_MS + 500, ...alive);

  const back = [0, 1, 2, 3, 4].map((index) => cluster.connect(`node-${index}`));
  await cluster.pass(10 * GRACE_MS, ...alive, ...back);

  expect(downCount(cluster)).toBe(0);
  expect(new Set(Object.values(states(cluster)))).toEqual(new Set(['ready']));
});

test('a deposed leader’s monitor sets nothing down', async () => {
  const { cluster } = await aClusterOf(2);
  const stop = monitor(cluster);

  stop.abort();
  await cluster.pass(4 * GRACE_MS);

  expect(states(cluster)).toEqual({ 'node-0': 'disconnected', 'node-1': 'disconnected' });
});
