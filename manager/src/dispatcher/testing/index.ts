import { silentLogger } from '@tessera/shared/env';
import type { ClusterError } from '@tessera/shared/errors';
import {
  Cluster,
  ClusterSpec,
  type ContainerState,
  NodeDescription,
  type TaskStatus,
} from '@tessera/shared/model';
import {
  aContainer,
  aContainerPlacement,
  aContainerState,
  aNode,
  aTask,
  aTaskSpec,
  aTaskStatus,
  FakeClock,
  SeededRandom,
  settle,
} from '@tessera/shared/testing';
import type { AgentMessage, Assignment, ManagerMessage } from '@tessera/shared/wire';
import { Register } from '@tessera/shared/wire';
import type { LeaderDecisions } from '../../loops/decisions.js';
import { type MemoryStore, type MemoryStoreOptions, openMemoryStore } from '../../store/testing/index.js';
import { Dispatcher } from '../dispatcher.js';
import type { SessionHandle, SessionTransport } from '../transport.js';

// A small agent and a small cluster for the dispatcher's tests: real protocol, no connection.

export const PERIOD_MS = 1_000;
export const GRACE_MS = 3_000;

/** The agent's end of a session. It keeps what it is sent, as an agent would. */
export class FakeAgent implements SessionTransport {
  readonly received: ManagerMessage[] = [];
  readonly items = new Map<string, Assignment>();
  readonly acked: number[] = [];
  closedWith: ClusterError | undefined;
  isClosed = false;
  /** Messages it takes before it is full. */
  room = Number.POSITIVE_INFINITY;
  handle!: SessionHandle;
  #batch = 0;
  #pieces: Assignment[] = [];

  send(message: ManagerMessage): boolean {
    this.received.push(message);
    const { body } = message;
    if (body?.$case === 'statusAck') this.acked.push(body.value.number);
    if (body?.$case === 'assignments') {
      const { full, complete, items, removed } = body.value;
      if (full) {
        this.#pieces.push(...items);
        if (complete) {
          this.items.clear();
          for (const item of this.#pieces.splice(0)) this.items.set(item.key, item);
        }
      } else {
        for (const item of items) this.items.set(item.key, item);
        for (const key of removed) this.items.delete(key);
      }
    }
    return --this.room > 0;
  }

  close(error?: ClusterError): void {
    this.isClosed = true;
    this.closedWith = error;
  }

  say(body: NonNullable<AgentMessage['body']>): void {
    this.handle.receive({ body });
  }

  beat(): void {
    this.say({ $case: 'heartbeat', value: { mainLoopLagMs: 0 } });
  }

  report(...statuses: Partial<TaskStatus>[]): number {
    this.#batch++;
    this.say({
      $case: 'statuses',
      value: {
        number: this.#batch,
        statuses: statuses.map((status) => aTaskStatus(status)),
        containers: [],
        volumes: [],
      },
    });
    return this.#batch;
  }

  reportContainers(...states: Partial<ContainerState>[]): number {
    this.#batch++;
    const containers = states.map((state) => aContainerState(state));
    this.say({ $case: 'statuses', value: { number: this.#batch, statuses: [], containers, volumes: [] } });
    return this.#batch;
  }

  /** The bodies of one kind, in order. */
  got<Case extends NonNullable<ManagerMessage['body']>['$case']>(kind: Case) {
    return this.received.flatMap(({ body }) =>
      body?.$case === kind ? [body.value as Extract<ManagerMessage['body'], { $case: Case }>['value']] : [],
    );
  }

  keys(): string[] {
    return [...this.items.keys()].sort();
  }
}

export interface TestCluster {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly dispatcher: Dispatcher;
  halted: boolean;
  /** Whether this manager leads. */
  leads: boolean;
  connect(nodeId: string, register?: Partial<Register>): FakeAgent;
  addNodes(...ids: string[]): Promise<void>;
  /** Moves time on in steps of half a second; the agents given beat on every full one. */
  pass(ms: number, ...beating: FakeAgent[]): Promise<void>;
}

export async function aCluster(options: MemoryStoreOptions = {}): Promise<TestCluster> {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock, options);
  await store.update((tx) =>
    tx.put(
      'cluster',
      Cluster.create({
        id: 'cluster-1',
        incarnation: 1,
        spec: ClusterSpec.create({
          heartbeatPeriodMs: PERIOD_MS,
          heartbeatGracePeriods: GRACE_MS / PERIOD_MS,
          dataPathPort: 4789,
        }),
      }),
    ),
  );
  const cluster: TestCluster = {
    clock,
    store,
    halted: false,
    leads: false,
    dispatcher: new Dispatcher({
      store,
      clock,
      random: new SeededRandom(1, 'dispatcher'),
      logger: silentLogger,
      managerId: 'manager-1',
      managerAddr: '10.0.0.9:2377',
      halted: () => cluster.halted,
      decisions: () => (cluster.leads ? decisionsOf(store) : undefined),
    }),
    connect(nodeId, register = {}) {
      const agent = new FakeAgent();
      const description = NodeDescription.create({ hostname: nodeId, dataPathAddr: `addr-of-${nodeId}` });
      agent.handle = cluster.dispatcher.openSession(
        nodeId,
        { ...Register.create({ description, addr: `addr-of-${nodeId}`, incarnation: 1 }), ...register },
        agent,
      );
      return agent;
    },
    async addNodes(...ids) {
      await store.update((tx) => {
        for (const id of ids) tx.put('nodes', aNode({ id, name: id }));
      });
    },
    async pass(ms, ...beating) {
      for (let passed = 0; passed < ms; passed += 500) {
        await clock.advanceAsync(Math.min(500, ms - passed));
        if (passed % PERIOD_MS === 500) for (const agent of beating) agent.beat();
      }
      await settle();
    },
  };
  return cluster;
}

/** A leader's decisions, as far as agents' reports need them. */
const decisionsOf = (store: MemoryStore): LeaderDecisions => ({
  store,
  createPlaced: (_, make) => store.update(make),
  reap: (tx, id) => {
    tx.delete('containers', id);
    tx.delete('containerPlacements', id);
    tx.delete('containerStates', id);
    return true;
  },
});

export const NETWORK = 'network-1';

/** A task in the store, placed on a node, with an address if it is given one. */
export const putTask = (store: MemoryStore, id: string, nodeId: string, addr = '') =>
  store.update((tx) => {
    tx.put('specs', { serviceId: 'service-1', version: 1, task: aTaskSpec() });
    const networks = addr ? [{ networkId: NETWORK, addr, mac: '02:42:0a:00:01:05', aliases: [] }] : [];
    tx.put('tasks', aTask({ id, nodeId, state: 'assigned', networks }));
  });

/** A container in the store, placed on a node, with an address if it is given one. */
export const putContainer = (store: MemoryStore, id: string, nodeId: string, addr = '') =>
  store.update((tx) => {
    const networks = addr ? [{ networkId: NETWORK, addr, mac: '02:42:0a:00:01:06', aliases: [] }] : [];
    tx.put('containers', aContainer({ id, name: `name-of-${id}` }));
    tx.put('containerPlacements', aContainerPlacement({ containerId: id, nodeId, networks }));
  });

export const putNetwork = (store: MemoryStore) =>
  store.update((tx) => {
    tx.put('networks', {
      id: NETWORK,
      meta: undefined,
      removing: false,
      spec: undefined,
    });
    tx.put('networkStatuses', { networkId: NETWORK, vni: 4097, pools: [], mtu: 1450, error: '' });
  });
