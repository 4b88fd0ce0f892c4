import { type Change, LEADER_KEY, type Txn, type TxnResult } from '@tessera/manager/store';
import { MemoryEngine, MemoryKv, MemoryStore } from '@tessera/manager/store/testing';
import type { Logger } from '@tessera/shared/env';
import { Cluster, Node, Resources } from '@tessera/shared/model';
import { SeededRandom } from '@tessera/shared/testing';
import { unsettledContainers } from './container-rules.js';
import { ContainerUsers } from './container-users.js';
import { type Container, Containers } from './containers.js';
import { findUnsettled } from './converged.js';
import { Faults } from './faults.js';
import { Rules } from './rules.js';
import { SimAgent, type StatusFaults } from './sim-agent.js';
import { SimClock } from './sim-clock.js';
import { SimLogger } from './sim-logger.js';
import { SimManager } from './sim-manager.js';
import { traceOf } from './trace.js';
import { Workload } from './workload.js';

export interface SimulationOptions {
  readonly seed: number;
  readonly nodeCount: number;
  readonly taskCount: number;
  readonly managerCount: number;
  /** How long users act and things break, in virtual time. */
  readonly troubleMs: number;
  /** Whether users also make containers that are no service's. */
  readonly withContainers?: boolean;
  /** How long everything may take to come right once they no longer do. */
  readonly settleMs: number;
  /** Receives every line the managers log; for looking into one seed. */
  readonly onLog?: (line: string) => void;
}

export interface SimulationReport {
  /** What went wrong, in the order of its happening; empty when nothing did. */
  readonly broken: readonly string[];
  readonly steps: number;
  readonly revisions: number;
  readonly containersStarted: number;
  readonly leadersElected: number;
  readonly settledAfterMs: number;
}

const NODE_NANO_CPUS = 4e9;
const NODE_MEMORY_BYTES = 8 * 2 ** 30;
/** Loops write these; a user never does. */
const LEADERS_KEYS =
  /^\/tessera\/v1\/(tasks|serviceStatuses|networkStatuses|imagePlacements|containerPlacements)\//;

/** A whole cluster in one process: the product's managers, modelled hosts, virtual time, one seed. */
export class Simulation {
  readonly clock = new SimClock();
  readonly agents = new Map<string, SimAgent>();
  readonly statusFaults: StatusFaults = { lateChance: 0, lateMaxMs: 0, twiceChance: 0 };
  readonly #engine = new MemoryEngine(this.clock);
  readonly #managers: SimManager[] = [];
  readonly #logger: SimLogger;
  #store!: MemoryStore;
  #rules!: Rules;
  #containers!: Containers;
  #managersMade = 0;
  #steps = 0;
  #containersStarted = 0;
  #leadersElected = 0;

  constructor(readonly options: SimulationOptions) {
    this.#logger = new SimLogger(() => this.clock.now(), options.onLog);
  }

  get managers(): readonly SimManager[] {
    return this.#managers;
  }

  get store(): MemoryStore {
    return this.#store;
  }

  random(name: string): SeededRandom {
    return new SeededRandom(this.options.seed, name);
  }

  /** The log, less what is expected while things break. */
  get logger(): Logger {
    return this.#logger;
  }

  async run(): Promise<SimulationReport> {
    await this.#openStore();
    await this.#buildCluster();
    const workload = new Workload({
      store: this.#store,
      random: this.random('users'),
      taskCount: this.options.taskCount,
      nodeNanoCpus: NODE_NANO_CPUS,
      nodeMemoryBytes: NODE_MEMORY_BYTES,
    });
    const containerUsers = new ContainerUsers(this.#store, this.random('container users'));
    await this.#advance(3_000);
    await workload.begin();
    await this.#advance(5_000);

    const faults = new Faults(this, this.random('faults'));
    const endMs = this.clock.now() + this.options.troubleMs;
    while (this.clock.now() < endMs && this.#rules.broken.length === 0) {
      await this.#advance(faults.nextAfterMs());
      await faults.act();
      await workload.act();
      if (this.options.withContainers) await containerUsers.act();
    }
    faults.end();
    await workload.tidy();
    const settledAfterMs = await this.#settle();
    return {
      broken: [...this.#rules.broken, ...this.#logger.alarms],
      steps: this.#steps,
      revisions: this.#engine.revision,
      containersStarted: this.#containersStarted,
      leadersElected: this.#leadersElected,
      settledAfterMs,
    };
  }

  /** A manager more, as when a process is started anew. */
  async addManager(): Promise<SimManager> {
    const id = `manager-${++this.#managersMade}`;
    let isStarted = false;
    const faultRandom = this.random(`${id} watch`);
    const kv = new MemoryKv(
      this.clock,
      {
        watchDelayMs: () => (faultRandom.next() < 0.2 ? Math.floor(faultRandom.next() * 50) : 0),
        repeatEvents: () => faultRandom.next() < 0.02,
        fate: () =>
          isStarted && faultRandom.next() < this.storeTrouble
            ? faultRandom.next() < 0.5
              ? 'loseAnswer'
              : 'refuse'
            : 'answer',
      },
      this.#engine,
    );
    this.#watchWrites(id, kv);
    const manager = await SimManager.start({
      id,
      clock: this.clock,
      kv,
      random: (name) => this.random(`${id} ${name}`),
      logger: this.#logger.child({ manager: id }),
    });
    isStarted = true;
    this.#managers.push(manager);
    return manager;
  }

  /** The share of calls to the store that go wrong. */
  storeTrouble = 0;

  forgetManager(manager: SimManager): void {
    this.#managers.splice(this.#managers.indexOf(manager), 1);
  }

  /** Who holds the election key right now. */
  leaderId(): string | undefined {
    const [kv] = this.#engine.range({ key: LEADER_KEY }).kvs;
    return kv && (JSON.parse(Buffer.from(kv.value).toString()) as { managerId: string }).managerId;
  }

  /** What only the leader writes is written by the leader alone, whatever others believe. */
  #watchWrites(id: string, kv: MemoryKv): void {
    const commit = kv.txn.bind(kv);
    kv.txn = async (txn) => {
      const { revision: before } = this.#engine;
      const leader = this.leaderId();
      const result = await commit(txn);
      // A stopped process waits inside the call: who leads is asked of the moment in which it was carried out.
      const now = this.#engine.revision === before + 1 ? leader : this.leaderId();
      const written = writtenKeys(txn, result).filter((key) => LEADERS_KEYS.test(key));
      if (written.length > 0 && now !== id)
        this.#rules.broken.push(`${id} wrote ${written[0]} while ${now} leads`);
      return result;
    };
  }

  async #openStore(): Promise<void> {
    const kv = new MemoryKv(this.clock, {}, this.#engine);
    this.#store = new MemoryStore(kv, {
      clock: this.clock,
      random: this.random('users store'),
      logger: this.#logger,
      managerId: 'users',
    });
    await this.#store.start();
    this.#rules = new Rules({
      agents: this.agents,
      nowMs: () => this.clock.now(),
      containers: () => this.#containers,
    });
    this.#containers = new Containers((container: Container) => {
      this.#containersStarted++;
      this.#rules.onStart(container);
    });
    let leader: string | undefined;
    this.#store.subscribe((changes, view) => {
      if (this.options.onLog) this.#trace(changes);
      this.#rules.onChanges(changes, view);
      const now = this.leaderId();
      if (now !== undefined && now !== leader) this.#leadersElected++;
      leader = now ?? leader;
    });
  }

  #trace(changes: readonly Change[]): void {
    for (const change of changes) {
      const line = traceOf(change);
      if (line) this.#logger.debug({}, line);
    }
  }

  async #buildCluster(): Promise<void> {
    const ids = Array.from({ length: this.options.nodeCount }, (_, index) => nodeIdOf(index));
    await this.#store.update((tx) => {
      tx.put(
        'cluster',
        Cluster.fromPartial({
          id: 'cluster',
          incarnation: 1,
          spec: {
            defaultAddrPools: ['10.0.0.0/8'],
            subnetSize: 24,
            taskHistoryLimit: 5,
            heartbeatPeriodMs: 1_000,
            heartbeatGracePeriods: 3,
            dataPathPort: 4_789,
          },
        }),
      );
    });
    for (let done = 0; done < ids.length; done += 50) {
      await this.#store.update((tx) => {
        for (const [index, id] of ids.slice(done, done + 50).entries())
          tx.put('nodes', nodeOf(id, done + index));
      });
    }
    for (let index = 0; index < this.options.managerCount; index++) await this.addManager();
    for (const id of ids) this.#startAgent(id);
  }

  /** `node rm --force`: the host itself may be anywhere, and hears of it when it next speaks with a manager. */
  async removeNode(agent: SimAgent): Promise<void> {
    agent.isDisowned = true;
    await this.#store.update((tx) => {
      tx.delete('nodes', agent.nodeId);
      tx.delete('nodeStatuses', agent.nodeId);
    });
  }

  /** A host that joins. */
  async addNode(): Promise<void> {
    const id = nodeIdOf(this.agents.size);
    await this.#store.update((tx) => tx.put('nodes', nodeOf(id, this.agents.size)));
    this.#startAgent(id);
  }

  #startAgent(id: string): void {
    const agent = new SimAgent({
      nodeId: id,
      capacity: Resources.fromPartial({
        nanoCpus: NODE_NANO_CPUS,
        memoryBytes: NODE_MEMORY_BYTES,
        pids: 10_000,
      }),
      imageDigests: [],
      clock: this.clock,
      random: this.random(`agent ${id}`),
      containers: this.#containers,
      onContainerStart: (id, nodeId) => this.#rules.containerRules.onStart(id, nodeId),
      faults: this.statusFaults,
      managers: () => this.#managers,
    });
    this.agents.set(id, agent);
    agent.powerOn();
  }

  async #advance(byMs: number): Promise<void> {
    await this.clock.run(this.clock.now() + byMs, () => {
      this.#steps++;
      this.#rules.onStep();
    });
  }

  /** @returns how long it took until every service had what its spec asks for, and nothing else was left */
  async #settle(): Promise<number> {
    const startMs = this.clock.now();
    let unsettled: string[] = [];
    while (this.clock.now() - startMs < this.options.settleMs && this.#rules.broken.length === 0) {
      await this.#advance(2_000);
      const view = this.#store.view();
      unsettled = findUnsettled(view, this.#containers, this.#engine, this.clock.now());
      unsettled.push(...unsettledContainers(view, this.agents));
      if (unsettled.length === 0) return this.clock.now() - startMs;
    }
    if (this.#rules.broken.length === 0)
      this.#rules.broken.push(
        ...unsettled.slice(0, 20).map((what) => `not settled after ${this.options.settleMs} ms: ${what}`),
      );
    return this.clock.now() - startMs;
  }
}

const nodeIdOf = (index: number): string => `node-${String(index + 1).padStart(3, '0')}`;

const nodeOf = (id: string, index: number): Node =>
  Node.fromPartial({ id, name: id, labels: { zone: ['a', 'b', 'c'][index % 3]! } });

function writtenKeys({ success, failure }: Txn, { succeeded, results }: TxnResult): string[] {
  return (succeeded ? success : failure).flatMap((op, index) => {
    if (op.kind === 'put' || op.kind === 'delete') return [op.key];
    const result = results[index];
    return op.kind === 'txn' && result?.kind === 'txn' ? writtenKeys(op.txn, result.result) : [];
  });
}
