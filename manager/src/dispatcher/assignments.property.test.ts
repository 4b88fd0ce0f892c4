import type { TaskState } from '@tessera/shared/model';
import {
  aContainer,
  aContainerPlacement,
  aContainerState,
  aService,
  aTask,
  aTaskSpec,
  aTaskStatus,
  settle,
} from '@tessera/shared/testing';
import type { Assignment } from '@tessera/shared/wire';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Transaction } from '../store/view.js';
import { AssignmentIndex } from './assignment-index.js';
import { encodeItem, makeItem } from './assignment-items.js';
import { aCluster, type FakeAgent, type TestCluster } from './testing/index.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const NETWORKS = ['network-1', 'network-2'];
const IDS = ['a', 'b', 'c', 'd'];
const STATES: TaskState[] = ['running', 'failed', 'complete'];

/** One change that users, the leader's loops or other managers may make. */
type Change = (tx: Transaction) => void;

const named = <T>(name: string, value: T): T => Object.assign(value as object, { toString: () => name }) as T;

const task = fc
  .record({
    id: fc.constantFrom(...IDS),
    nodeId: fc.constantFrom(...NODES),
    networks: fc.subarray(NETWORKS),
    state: fc.constantFrom<TaskState>('pending', 'assigned', 'orphaned'),
    desiredState: fc.constantFrom<TaskState>('running', 'shutdown', 'remove'),
  })
  .map(({ id, networks, ...rest }) =>
    named<Change>(`put task ${id} ${JSON.stringify({ networks, ...rest })}`, (tx) => {
      tx.put('specs', { serviceId: 'service-1', version: 1, task: aTaskSpec() });
      const attachments = networks.map((networkId, index) => ({
        networkId,
        addr: `10.0.${index}.${id.charCodeAt(0)}/24`,
        mac: '',
        aliases: [],
      }));
      tx.put('tasks', aTask({ id, networks: attachments, ...rest }));
    }),
  );
const deletion = fc
  .constantFrom(...IDS)
  .map((id) => named<Change>(`delete task ${id}`, (tx) => tx.delete('tasks', id)));
const status = fc
  .record({ taskId: fc.constantFrom(...IDS), state: fc.constantFrom(...STATES) })
  .map((value) =>
    named<Change>(`status ${JSON.stringify(value)}`, (tx) => tx.put('taskStatuses', aTaskStatus(value))),
  );
const network = fc.record({ id: fc.constantFrom(...NETWORKS), vni: fc.nat(3) }).map(({ id, vni }) =>
  named<Change>(`network ${id} ${vni}`, (tx) => {
    if (vni === 0) return tx.delete('networkStatuses', id);
    tx.put('networks', { id, meta: undefined, removing: false, spec: undefined });
    tx.put('networkStatuses', { networkId: id, vni, pools: [], mtu: 1450, error: '' });
  }),
);
const service = fc
  .record({ id: fc.constantFrom('s', 't'), networks: fc.subarray(NETWORKS), vips: fc.subarray(NETWORKS) })
  .map(({ id, networks, vips }) =>
    named<Change>(`service ${id} on ${networks}, vips ${vips}`, (tx) => {
      const template = aTaskSpec({
        networks: networks.map((networkId) => ({ networkId, aliases: [] })),
      });
      tx.put('services', aService({ id }, { name: id, task: template }));
      const virtualIps = vips.map((networkId) => ({ networkId, addr: '10.0.0.2/24' }));
      tx.put('serviceStatuses', { serviceId: id, virtualIps, update: undefined });
    }),
  );
const container = fc
  .record({
    id: fc.constantFrom('c1', 'c2'),
    nodeId: fc.constantFrom('', ...NODES),
    networks: fc.subarray(NETWORKS),
    state: fc.constantFrom('created', 'running', 'exited', 'removed', undefined),
    isGone: fc.boolean(),
  })
  .map((value) =>
    named<Change>(`container ${JSON.stringify(value)}`, (tx) => {
      const { id: containerId, nodeId, state } = value;
      tx.delete('containerStates', containerId);
      if (value.isGone) {
        tx.delete('containers', containerId);
        tx.delete('containerPlacements', containerId);
        return;
      }
      const networks = value.networks.map((networkId, index) => ({
        networkId,
        addr: `10.0.${index}.${containerId.charCodeAt(1)}/24`,
        mac: '',
        aliases: [],
      }));
      tx.put('containers', aContainer({ id: containerId }));
      tx.put('containerPlacements', aContainerPlacement({ containerId, nodeId, networks }));
      if (state) tx.put('containerStates', aContainerState({ containerId, state: state as 'created' }));
    }),
  );
const placement = fc
  .subarray(NODES)
  .map((nodeIds) =>
    named<Change>(`image on ${nodeIds}`, (tx) => tx.put('imagePlacements', { imageId: 'sha256:a', nodeIds })),
  );
const label = fc
  .record({ id: fc.constantFrom(...NODES), zone: fc.string({ maxLength: 2 }) })
  .map(({ id, zone }) =>
    named<Change>(`label ${id} ${zone}`, (tx) => tx.put('nodes', { ...tx.nodes.get(id)!, labels: { zone } })),
  );

/** What an agent does meanwhile: it stops taking messages, takes them again, or begins a new session. */
const behaviour = fc.record({
  node: fc.constantFrom(...NODES),
  act: fc.constantFrom<'fill' | 'drain' | 'reconnect'>('fill', 'drain', 'reconnect'),
});
const step = fc.oneof(
  { weight: 6, arbitrary: fc.oneof(task, deletion, status, network, service, container, placement, label) },
  { weight: 1, arbitrary: behaviour },
);

function behave(cluster: TestCluster, agents: Map<string, FakeAgent>, node: string, act: string): void {
  const agent = agents.get(node)!;
  if (act === 'reconnect') agents.set(node, cluster.connect(node));
  else if (act === 'fill') agent.room = 1;
  else {
    agent.room = Number.POSITIVE_INFINITY;
    agent.handle.drained();
  }
}

const contents = (items: Iterable<Assignment>) =>
  Object.fromEntries(
    [...items].map((item) => [item.key, Buffer.from(encodeItem(item)).toString('hex')]).sort(),
  );

/** What the node should have, made from the store alone. */
function expected({ store }: TestCluster, nodeId: string): Assignment[] {
  const index = new AssignmentIndex(store.view(), { changed() {}, markDirty() {} });
  return [...index.keysOf(nodeId)].flatMap((key) => makeItem(store.view(), key) ?? []);
}

test('whatever changes and however slowly a node takes it, it ends up with what the store says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const cluster = await aCluster();
      await cluster.addNodes(...NODES);
      const agents = new Map(NODES.map((node) => [node, cluster.connect(node)]));
      await settle();
      for (const one of steps) {
        if (typeof one === 'function') await cluster.store.update(one);
        else behave(cluster, agents, one.node, one.act);
        await cluster.clock.advanceAsync(5);
      }
      for (const node of NODES) behave(cluster, agents, node, 'drain');
      await cluster.clock.advanceAsync(500);

      for (const node of NODES)
        expect(contents(agents.get(node)!.items.values())).toEqual(contents(expected(cluster, node)));
      cluster.dispatcher.stop();
      cluster.store.close();
    }),
    { numRuns: 60 },
  );
});
