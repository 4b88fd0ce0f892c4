import type { MemoryStore } from '@tessera/manager/store/testing';
import { newHexId, newId, type Random } from '@tessera/shared/env';
import { Network, type Node, Service, type ServiceSpec, SpecVersion } from '@tessera/shared/model';
import { aTaskSpec } from '@tessera/shared/testing';
import { BEHAVIOUR_LABEL, type Behaviour } from './sim-task.js';

export interface WorkloadOptions {
  readonly store: MemoryStore;
  readonly random: Random;
  /** Tasks that all services together are to have, roughly. */
  readonly taskCount: number;
  /** Capacity of one node, so that what is asked for is neither nothing nor impossible. */
  readonly nodeNanoCpus: number;
  readonly nodeMemoryBytes: number;
}

const BEHAVIOURS: readonly [Behaviour, ...Behaviour[]] = [
  'steady',
  'steady',
  'steady',
  'steady',
  'flaky',
  'stubborn',
  'crash',
  'job',
  'reject',
];
const SERVICE_SHARE = 12;

/** The users: they create, scale, update and remove services, and look after nodes, as the API would write it. */
export class Workload {
  #count = 0;

  constructor(private readonly options: WorkloadOptions) {}

  async begin(): Promise<void> {
    for (let index = 0; index < 3; index++) await this.#createNetwork();
    while (this.#replicas() < this.options.taskCount) await this.#createService();
    await this.#createService('global');
  }

  /** One thing some user does. */
  async act(): Promise<void> {
    const dice = this.#random();
    if (dice < 0.2) {
      if (this.#replicas() < this.options.taskCount * 1.3) await this.#createService();
    } else if (dice < 0.45) await this.#scale();
    else if (dice < 0.7) await this.#updateSpec();
    else if (dice < 0.8) await this.#removeService();
    else if (dice < 0.85) await this.#createNetwork();
    else if (dice < 0.9) await this.#removeNetwork();
    else await this.#changeNode();
  }

  /** Ends what users have left unfinished: every node takes tasks again. */
  async tidy(): Promise<void> {
    await this.options.store.update((tx) => {
      for (const node of tx.nodes.all())
        if (node.availability !== 'active') tx.put('nodes', { ...node, availability: 'active' });
    });
  }

  #replicas(): number {
    let sum = 0;
    for (const { spec, removing } of this.options.store.view().services.all())
      if (!removing) sum += spec?.replicas ?? 0;
    return sum;
  }

  async #createNetwork(): Promise<void> {
    const id = newHexId(this.options.random).slice(0, 25);
    const name = `net-${++this.#count}`;
    // A small one now and then, so that its addresses run out.
    const ipam =
      this.#random() < 0.3 ? [{ subnet: `192.168.${this.#count % 256}.0/28`, gateway: '', ipRange: '' }] : [];
    await this.options.store.update((tx) => {
      tx.takeClaim(`name/network/${name}`, `network/${id}`);
      tx.put('networks', Network.fromPartial({ id, spec: { name, driver: 'overlay', ipam } }));
    });
  }

  async #createService(mode: ServiceSpec['mode'] = 'replicated'): Promise<void> {
    const { store } = this.options;
    const id = newId(this.options.random);
    const name = `service-${++this.#count}`;
    const behaviour = mode === 'global' ? 'steady' : this.#pick(BEHAVIOURS);
    const replicas = mode === 'global' ? 0 : 1 + Math.floor(this.#random() * SERVICE_SHARE);
    const spec = this.#spec(name, mode, replicas, behaviour);
    await store.update((tx) => {
      tx.takeClaim(`name/service/${name}`, `service/${id}`);
      for (const { networkId } of spec.task?.networks ?? []) tx.require('networks', networkId);
      tx.put('services', Service.fromPartial({ id, spec, specVersion: 1 }));
      tx.put('specs', SpecVersion.fromPartial({ serviceId: id, version: 1, task: spec.task! }));
    });
  }

  #spec(name: string, mode: ServiceSpec['mode'], replicas: number, behaviour: Behaviour): ServiceSpec {
    const networks = [...this.options.store.view().networks.all()].filter(({ removing }) => !removing);
    const network = this.#random() < 0.6 ? this.#pick(networks) : undefined;
    const reservations = {
      nanoCpus: Math.floor(this.#random() * 0.5 * this.options.nodeNanoCpus),
      memoryBytes: Math.floor(this.#random() * 0.5 * this.options.nodeMemoryBytes),
      pids: 0,
    };
    const startFirst = this.#random() < 0.3;
    return Service.fromPartial({
      spec: {
        name,
        labels: { [BEHAVIOUR_LABEL]: behaviour },
        mode,
        replicas,
        task: {
          ...aTaskSpec(),
          restart: {
            condition: behaviour === 'job' ? this.#pick(['on_failure', 'none'] as const) : 'any',
            delayMs: this.#pick([0, 1_000, 5_000]),
            maxAttempts: this.#pick([0, 0, 3]),
            windowMs: this.#pick([0, 30_000]),
          },
          networks: network ? [{ networkId: network.id, aliases: [] }] : [],
          resources: this.#random() < 0.6 && mode === 'replicated' ? { reservations } : {},
          placement: {
            constraints: this.#random() < 0.2 ? ['node.labels.zone != c'] : [],
            spreadOver: this.#random() < 0.3 ? ['node.labels.zone'] : [],
            maxReplicasPerNode: 0,
            coLocatedWith: [],
            nodeExpressions: [],
            affinityExpressions: [],
          },
        },
        update: {
          parallelism: 1 + Math.floor(this.#random() * 3),
          delayMs: this.#pick([0, 1_000]),
          failureAction: this.#pick(['pause', 'proceed', 'rollback'] as const),
          monitorMs: 2_000,
          maxFailureRatio: this.#pick([0, 0.5]),
          order: startFirst ? 'start_first' : 'stop_first',
        },
      },
    }).spec!;
  }

  async #scale(): Promise<void> {
    await this.#change((service) => {
      if (service.spec?.mode === 'global') return undefined;
      const replicas = Math.floor(this.#random() * 2 * SERVICE_SHARE * 0.8);
      return { ...service, spec: { ...service.spec!, replicas } };
    });
  }

  async #updateSpec(): Promise<void> {
    const { store } = this.options;
    const service = this.#anyService();
    if (!service) return;
    await store.update((tx) => {
      const before = tx.services.get(service.id);
      const task = before?.spec?.task;
      if (!before || !task || before.removing) return;
      const version = before.specVersion + 1;
      const next = { ...task, forceUpdate: task.forceUpdate + 1 };
      tx.put('specs', SpecVersion.fromPartial({ serviceId: service.id, version, task: next }));
      tx.put('services', {
        ...before,
        spec: { ...before.spec!, task: next },
        previousSpec: before.spec,
        specVersion: version,
      });
    });
  }

  async #removeService(): Promise<void> {
    await this.#change((service) => ({ ...service, removing: true }));
  }

  async #removeNetwork(): Promise<void> {
    const { store } = this.options;
    const free = [...store.view().networks.all()].filter(
      ({ id, removing }) => !removing && !this.#isUsed(id),
    );
    const network = this.#pick(free);
    if (!network) return;
    await store.update((tx) => {
      const latest = tx.networks.get(network.id);
      if (!latest || latest.removing || this.#isUsed(latest.id)) return;
      tx.releaseClaim(`name/network/${latest.spec?.name}`);
      tx.put('networks', { ...latest, removing: true });
    });
  }

  #isUsed(networkId: string): boolean {
    return [...this.options.store.view().services.all()].some(({ spec }) =>
      spec?.task?.networks.some((network) => network.networkId === networkId),
    );
  }

  async #changeNode(): Promise<void> {
    const node = this.#pick([...this.options.store.view().nodes.all()]);
    if (!node) return;
    const dice = this.#random();
    await this.options.store.update((tx) => {
      const before = tx.nodes.get(node.id);
      if (before) tx.put('nodes', changeOf(before, dice));
    });
  }

  async #change(to: (service: Service) => Service | undefined): Promise<void> {
    const service = this.#anyService();
    if (!service) return;
    await this.options.store.update((tx) => {
      const before = tx.services.get(service.id);
      if (!before || before.removing) return;
      const after = to(before);
      if (!after) return;
      if (after.removing) tx.releaseClaim(`name/service/${after.spec?.name}`);
      tx.put('services', after);
    });
  }

  #anyService(): Service | undefined {
    return this.#pick([...this.options.store.view().services.all()].filter(({ removing }) => !removing));
  }

  #random(): number {
    return this.options.random.next();
  }

  #pick<T>(items: readonly [T, ...T[]]): T;
  #pick<T>(items: readonly T[]): T | undefined;
  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }
}

const ZONES = ['a', 'b', 'c'];

function changeOf(node: Node, dice: number): Node {
  if (dice < 0.3) return { ...node, availability: 'drain' };
  if (dice < 0.4) return { ...node, availability: 'pause' };
  if (dice < 0.8) return { ...node, availability: 'active' };
  return { ...node, labels: { ...node.labels, zone: ZONES[Math.floor(dice * 1_000) % ZONES.length]! } };
}
