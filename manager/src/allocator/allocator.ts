import { ClusterError } from '@tessera/shared/errors';
import {
  type NetworkAttachment,
  type Service,
  ServiceStatus,
  type Task,
  type VirtualIp,
} from '@tessera/shared/model';
import { needsAddresses } from '../loops/containers.js';
import { isWanted } from '../loops/facts.js';
import type { LoopDefinition, Outcome } from '../loops/leader-loop.js';
import type { Change, Store, Transaction, View } from '../store/view.js';
import { AddressBook, type Cursors, ipClaim, macOf } from './address-book.js';
import { allocateContainer } from './container-addresses.js';
import { allocateNetwork, isAllocated, isClusterNetwork } from './network-allocator.js';

/** The one id under which waiting tasks are allocated, many to a transaction. */
const TASKS = 'tasks';
/** Objects and claims written per transaction. */
const WRITES_MAX = 90;

/**
 * Hands out what is unique in the cluster: subnets and VNIs to networks, virtual addresses to services,
 * addresses to containers and to tasks, which go from `new` to `pending`.
 */
export function allocatorLoop(store: Store): Allocator {
  return new Allocator(store);
}

export class Allocator implements LoopDefinition {
  readonly name = 'allocator';
  readonly concurrency = 4;
  /** Tasks to look at; only a list of what to read again, rebuilt from the store by every leader. */
  readonly #waiting = new Set<string>();
  /** Services that found no virtual address free: looked at again when one is given back. */
  readonly #addressless = new Set<string>();
  /** Containers whose network has no subnet yet. */
  readonly #networkless = new Set<string>();
  #cursors: Cursors = new Map();

  constructor(private readonly store: Store) {}

  *ids(view: View): Iterable<string> {
    for (const { id } of view.networks.all()) yield `network/${id}`;
    for (const { id } of view.services.all()) yield `service/${id}`;
    for (const task of view.tasks.all()) this.#note(task);
    yield TASKS;
    for (const container of view.containers.all())
      if (needsAddresses(container, view.containerPlacements.get(container.id)))
        yield `container/${container.id}`;
  }

  *touched(changes: readonly Change[], view: View): Iterable<string> {
    for (const change of changes) {
      switch (change.kind) {
        case 'cluster':
          yield* this.#unallocated(view);
          break;
        case 'networks':
          yield `network/${change.id}`;
          break;
        case 'networkStatuses':
          // One gone may be the room that another one waits for.
          if (!change.after) yield* this.#unallocated(view);
          yield* servicesOf(change.id, view);
          if (this.#waiting.size > 0) yield TASKS;
          for (const id of this.#networkless) yield `container/${id}`;
          break;
        case 'containers': {
          const { after } = change as Change<'containers'>;
          if (after && needsAddresses(after, view.containerPlacements.get(after.id)))
            yield `container/${after.id}`;
          break;
        }
        case 'containerPlacements': {
          const { before, after } = change as Change<'containerPlacements'>;
          if (!after && before && before.networks.length > 0) yield* this.#addressFreed();
          break;
        }
        case 'services':
          yield `service/${change.id}`;
          break;
        case 'tasks': {
          const { before, after } = change as Change<'tasks'>;
          if (after) this.#note(after);
          const freed = !after && before !== undefined && before.networks.length > 0;
          if (freed) yield* this.#addressFreed();
          if (after?.state === 'new' && after.pendingReason === '') yield TASKS;
          break;
        }
      }
    }
  }

  reconcile(id: string): Promise<Outcome> {
    const [kind, objectId = ''] = id.split('/');
    if (kind === 'network') return this.#allocateNetwork(objectId);
    if (kind === 'service') return this.#allocateService(objectId);
    if (kind === 'container') return this.#allocateContainer(objectId);
    return this.#allocateTasks();
  }

  /** Gives a container of this transaction its addresses, if it can have them now. */
  allocateIn(tx: Transaction, containerId: string): void {
    const book = new AddressBook(tx, this.#cursors);
    allocateContainer(tx, containerId, book);
    // At once: whoever comes next, perhaps for the same commit, is to try another address.
    this.#keep(book.cursors);
  }

  #note(task: Task): void {
    if (task.state === 'new' && isWanted(task)) this.#waiting.add(task.id);
    else this.#waiting.delete(task.id);
  }

  /** Whoever found no address looks again. */
  *#addressFreed(): Iterable<string> {
    for (const id of this.#addressless) yield `service/${id}`;
    if (this.#waiting.size > 0) yield TASKS;
  }

  *#unallocated(view: View): Iterable<string> {
    for (const { id } of view.networks.all()) {
      if (!isAllocated(view.networkStatuses.get(id))) yield `network/${id}`;
    }
  }

  async #allocateNetwork(id: string): Promise<Outcome> {
    const worked = await this.store.update((tx) => {
      const network = tx.networks.get(id);
      return network ? allocateNetwork(tx, network) : false;
    });
    return { worked };
  }

  async #allocateService(id: string): Promise<Outcome> {
    const view = this.store.view();
    const known = view.services.get(id);
    if (!known || known.removing || hasItsAddresses(view, known)) {
      this.#addressless.delete(id);
      return { worked: false };
    }
    const { worked, isShort, cursors } = await this.store.update((tx) => {
      const book = new AddressBook(tx, this.#cursors);
      const service = tx.services.get(id);
      const { worked, isShort } =
        service && !service.removing
          ? allocateVirtualIps(tx, service, book)
          : { worked: false, isShort: false };
      return { worked, isShort, cursors: book.cursors };
    });
    this.#keep(cursors);
    if (isShort) this.#addressless.add(id);
    else this.#addressless.delete(id);
    return { worked };
  }

  async #allocateContainer(id: string): Promise<Outcome> {
    const { outcome, cursors } = await this.store.update((tx) => {
      const book = new AddressBook(tx, this.#cursors);
      return { outcome: allocateContainer(tx, id, book), cursors: book.cursors };
    });
    this.#keep(cursors);
    if (outcome === 'waiting') this.#networkless.add(id);
    else this.#networkless.delete(id);
    return { worked: outcome === 'written' };
  }

  async #allocateTasks(): Promise<Outcome> {
    let worked = false;
    const ids = [...this.#waiting].sort();
    for (let done = 0; done < ids.length; ) {
      const from = done;
      const result = await this.store.update((tx) => {
        const book = new AddressBook(tx, this.#cursors);
        let writes = 0;
        let count = 0;
        for (const id of ids.slice(from)) {
          const task = tx.tasks.get(id);
          if (task && writes > 0 && writes + weightOf(tx, task) > WRITES_MAX) break;
          if (task?.state === 'new' && isWanted(task)) writes += allocateTask(tx, task, book);
          count++;
        }
        return { count, writes, cursors: book.cursors };
      });
      done += result.count;
      worked ||= result.writes > 0;
      this.#keep(result.cursors);
    }
    // What has gone without ever being seen to go: deleted in the revision that the picture began with.
    const view = this.store.view();
    for (const id of ids) if (!view.tasks.get(id)) this.#waiting.delete(id);
    return { worked };
  }

  /** Two updates may have gone on from one hint; either's is as good. */
  #keep(cursors: Cursors): void {
    this.#cursors = new Map([...this.#cursors, ...cursors]);
  }
}

function* servicesOf(networkId: string, view: View): Iterable<string> {
  for (const service of view.services.all()) {
    if (service.spec?.task?.networks.some((network) => network.networkId === networkId))
      yield `service/${service.id}`;
  }
}

const weightOf = (tx: Transaction, task: Task): number => 1 + tx.specOf(task).networks.length;

/**
 * Gives a task its place on each of its networks and makes it `pending`; or says what it waits for.
 *
 * @returns how many keys were written
 */
function allocateTask(tx: Transaction, task: Task, book: AddressBook): number {
  const networks: NetworkAttachment[] = [];
  const reason = attach();
  if (reason === undefined) {
    tx.put('tasks', { ...task, state: 'pending', networks, pendingReason: '' });
    return 1 + networks.length;
  }
  // All of its addresses or none: a task that waits must not hold what another one could use.
  for (const { networkId, addr } of networks) if (addr) book.giveBack(networkId, addr);
  if (reason === task.pendingReason) return 0;
  tx.put('tasks', { ...task, pendingReason: reason });
  return 1;

  function attach(): string | undefined {
    for (const { networkId, aliases } of tx.specOf(task).networks) {
      const network = tx.networks.get(networkId);
      if (!network || network.removing) return `network ${network?.spec?.name ?? networkId} not found`;
      const status = tx.networkStatuses.get(networkId);
      if (!status || !isAllocated(status))
        return status?.error || `waiting for network ${network.spec?.name} to be allocated`;
      // A network whose removal begins meanwhile must not be given tasks.
      tx.require('networks', networkId);
      if (!isClusterNetwork(network)) {
        networks.push({ networkId, addr: '', mac: '', aliases });
        continue;
      }
      try {
        const addr = book.take(status, `task/${task.id}`);
        networks.push({ networkId, addr, mac: macOf(addr), aliases });
      } catch (error) {
        if (error instanceof ClusterError && error.kind === 'resourceExhausted') return error.message;
        throw error;
      }
    }
    return undefined;
  }
}

/** The networks on which a service is to have a virtual address. */
const networksWithAddress = ({ spec }: Service): string[] =>
  spec?.endpoint?.mode === 'dnsrr'
    ? []
    : [...new Set((spec?.task?.networks ?? []).map(({ networkId }) => networkId))];

function hasItsAddresses(view: View, service: Service): boolean {
  const has = (view.serviceStatuses.get(service.id)?.virtualIps ?? []).map(({ networkId }) => networkId);
  const wanted = networksWithAddress(service);
  return has.length === wanted.length && wanted.every((networkId) => has.includes(networkId));
}

/** Gives a service one address on each of its networks, and takes back those on networks that it left. */
function allocateVirtualIps(
  tx: Transaction,
  service: Service,
  book: AddressBook,
): { worked: boolean; isShort: boolean } {
  const status = tx.serviceStatuses.get(service.id) ?? ServiceStatus.fromPartial({ serviceId: service.id });
  const ids = new Set(networksWithAddress(service));

  const kept = status.virtualIps.filter(({ networkId }) => ids.has(networkId));
  const given: VirtualIp[] = [];
  for (const networkId of ids) {
    if (kept.some((ip) => ip.networkId === networkId)) continue;
    const addr = virtualIpOn(tx, networkId, service, book);
    if (addr !== undefined) given.push({ networkId, addr });
  }
  const isShort = kept.length + given.length < ids.size;
  if (given.length === 0 && kept.length === status.virtualIps.length) return { worked: false, isShort };

  for (const { networkId, addr } of status.virtualIps) {
    if (!ids.has(networkId)) tx.releaseClaim(ipClaim(networkId, addr.split('/')[0]!));
  }
  tx.require('services', service.id);
  tx.put('serviceStatuses', { ...status, virtualIps: [...kept, ...given] });
  return { worked: true, isShort };
}

/** Undefined while the network has none to give: the service is looked at again when it has. */
function virtualIpOn(
  tx: Transaction,
  networkId: string,
  service: Service,
  book: AddressBook,
): string | undefined {
  const network = tx.networks.get(networkId);
  const status = tx.networkStatuses.get(networkId);
  if (!network || network.removing || !isClusterNetwork(network)) return undefined;
  if (!status || !isAllocated(status)) return undefined;
  try {
    const addr = book.take(status, `service/${service.id}`);
    tx.require('networks', networkId);
    return addr;
  } catch (error) {
    if (error instanceof ClusterError && error.kind === 'resourceExhausted') return undefined;
    throw error;
  }
}
