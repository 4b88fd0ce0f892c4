import { nodeOfVolume } from '../loops/volumes.js';
import type { Change, View } from '../store/view.js';
import { hasEndpoints, isHandedOut, itemKey, networksOfService, networksOfTask } from './assignment-items.js';
import { containerNetworks, dataPathAddr, placeOf } from './container-items.js';

/** What the index remembers of a task or container, so that it can tell what a change takes away. */
interface TaskPlace {
  readonly nodeId: string;
  /** Networks it has an endpoint on; its node is subscribed to them on its account. */
  readonly networkIds: readonly string[];
}

const NOWHERE: TaskPlace = { nodeId: '', networkIds: [] };

export interface AssignmentListener {
  /** What was made for this key no longer holds. */
  changed(key: string): void;
  /** This node may have to be sent the key's item again, or to lose it. */
  markDirty(nodeId: string, key: string): void;
}

/**
 * Who gets what: nodes by network, endpoints and services by network, image holds by node. Fed with the
 * store's changes, it says which items of which nodes to look at again, so that a change costs the nodes
 * that it concerns and not the cluster.
 */
export class AssignmentIndex {
  readonly #places = new Map<string, TaskPlace>();
  /** Per network, how many tasks of each node hold its subscription. */
  readonly #subscribers = new Map<string, Map<string, number>>();
  readonly #endpoints = new SetMap();
  readonly #services = new SetMap();
  readonly #networksOfService = new Map<string, readonly string[]>();
  readonly #imagesOfNode = new SetMap();
  readonly #holdersOfImage = new Map<string, readonly string[]>();
  /** Volumes that are to be removed from a node. */
  readonly #volumesOfNode = new SetMap();
  readonly #nodeOfVolume = new Map<string, string>();
  readonly #addrs = new Map<string, string>();
  #view: View;

  constructor(
    view: View,
    private readonly listener: AssignmentListener,
  ) {
    this.#view = view;
    for (const { id } of view.nodes.all()) this.#addrs.set(id, dataPathAddr(view, id));
    for (const { id } of view.services.all()) this.#refreshService(id);
    for (const { id } of view.tasks.all()) this.#refreshTask(id);
    for (const { containerId } of view.containerPlacements.all()) this.#refreshContainer(containerId);
    for (const { imageId } of view.imagePlacements.all()) this.#refreshPlacement(imageId);
    for (const { id } of view.volumes.all()) this.#refreshVolume(id);
  }

  /** The picture that the last changes led to. */
  get view(): View {
    return this.#view;
  }

  apply(changes: readonly Change[], view: View): void {
    this.#view = view;
    for (const { kind, id } of changes) this.#applyOne(kind, id);
  }

  #applyOne(kind: Change['kind'], id: string): void {
    switch (kind) {
      case 'tasks':
      case 'taskStatuses':
        this.#refreshTask(id);
        break;
      case 'services':
      case 'serviceStatuses':
        this.#refreshService(id);
        break;
      case 'networks':
      case 'networkStatuses':
        this.#markSubscribers(id, itemKey.network(id));
        break;
      case 'nodes':
        this.#markNode(id, itemKey.node(id));
        break;
      case 'nodeStatuses':
        this.#refreshAddr(id);
        break;
      case 'containers':
      case 'containerPlacements':
        this.#refreshContainer(id);
        break;
      case 'containerStates':
        this.#refreshContainerEndpoints(id);
        break;
      case 'imagePlacements':
        this.#refreshPlacement(id);
        break;
      case 'volumes':
      case 'volumePlacements':
        this.#refreshVolume(id);
        break;
    }
  }

  /** Every key a node may have an item for, in an order in which a task comes after what it needs. */
  *keysOf(nodeId: string): Iterable<string> {
    yield itemKey.node(nodeId);
    for (const [networkId, nodes] of this.#subscribers)
      if (nodes.has(nodeId)) yield* this.#keysOfNetwork(networkId);
    for (const imageId of this.#imagesOfNode.get(nodeId)) yield itemKey.image(imageId);
    for (const volumeId of this.#volumesOfNode.get(nodeId)) yield itemKey.volume(volumeId);
    for (const task of this.#view.tasks.byNode(nodeId)) yield itemKey.task(task.id);
    for (const { containerId } of this.#view.containerPlacements.byNode(nodeId))
      yield itemKey.container(containerId);
  }

  /** Whether a node gets the item of this key, if there is one. */
  concerns(nodeId: string, key: string): boolean {
    const [kind, first = '', second = ''] = key.split('/');
    switch (kind) {
      case 'node':
        return first === nodeId;
      case 'task':
        return this.#view.tasks.get(first)?.nodeId === nodeId;
      case 'container':
        return placeOf(this.#view, first)?.nodeId === nodeId;
      case 'image':
        return this.#imagesOfNode.get(nodeId).has(first);
      case 'volume':
        return this.#volumesOfNode.get(nodeId).has(first);
      case 'network':
        return this.#isSubscribed(nodeId, first);
      default:
        return this.#isSubscribed(nodeId, second);
    }
  }

  #isSubscribed(nodeId: string, networkId: string): boolean {
    return this.#subscribers.get(networkId)?.has(nodeId) ?? false;
  }

  *#keysOfNetwork(networkId: string): Iterable<string> {
    yield itemKey.network(networkId);
    for (const serviceId of this.#services.get(networkId)) yield itemKey.virtualService(serviceId, networkId);
    for (const taskId of this.#endpoints.get(networkId)) yield itemKey.endpoint(taskId, networkId);
  }

  #refreshTask(taskId: string): void {
    const task = this.#view.tasks.get(taskId);
    const after: TaskPlace =
      task && isHandedOut(task)
        ? {
            nodeId: task.nodeId,
            networkIds: hasEndpoints(task, this.#view.taskStatuses.get(taskId)) ? networksOfTask(task) : [],
          }
        : NOWHERE;
    this.#move(taskId, itemKey.task(taskId), after);
  }

  #refreshContainer(containerId: string): void {
    this.#move(containerId, itemKey.container(containerId), this.#placeOfContainer(containerId));
  }

  /** Where it is does not change with its state: its node, which said it, need not be told. */
  #refreshContainerEndpoints(containerId: string): void {
    this.#move(containerId, undefined, this.#placeOfContainer(containerId));
  }

  #placeOfContainer(containerId: string): TaskPlace {
    const placement = placeOf(this.#view, containerId);
    return placement
      ? { nodeId: placement.nodeId, networkIds: containerNetworks(this.#view, placement) }
      : NOWHERE;
  }

  /** @param key of the item to look at again on its nodes; undefined: its endpoints alone have changed */
  #move(taskId: string, key: string | undefined, after: TaskPlace): void {
    const before = this.#places.get(taskId) ?? NOWHERE;
    if (after === NOWHERE) this.#places.delete(taskId);
    else this.#places.set(taskId, after);

    if (key !== undefined)
      for (const nodeId of new Set([before.nodeId, after.nodeId])) this.#markNode(nodeId, key);
    // A node about to unsubscribe must still hear of the endpoints that go; one that subscribes, of all.
    for (const networkId of after.networkIds) this.#subscribe(after.nodeId, networkId);
    for (const networkId of before.networkIds) this.#endpoints.delete(networkId, taskId);
    for (const networkId of after.networkIds) this.#endpoints.add(networkId, taskId);
    for (const networkId of new Set([...before.networkIds, ...after.networkIds]))
      this.#markSubscribers(networkId, itemKey.endpoint(taskId, networkId));
    for (const networkId of before.networkIds) this.#unsubscribe(before.nodeId, networkId);
  }

  #subscribe(nodeId: string, networkId: string): void {
    const nodes = this.#subscribers.get(networkId) ?? new Map<string, number>();
    this.#subscribers.set(networkId, nodes);
    const count = nodes.get(nodeId) ?? 0;
    nodes.set(nodeId, count + 1);
    if (count === 0) for (const key of this.#keysOfNetwork(networkId)) this.listener.markDirty(nodeId, key);
  }

  #unsubscribe(nodeId: string, networkId: string): void {
    const nodes = this.#subscribers.get(networkId);
    const count = nodes?.get(nodeId) ?? 0;
    if (count > 1) nodes?.set(nodeId, count - 1);
    else if (nodes?.delete(nodeId)) {
      for (const key of this.#keysOfNetwork(networkId)) this.listener.markDirty(nodeId, key);
      if (nodes.size === 0) this.#subscribers.delete(networkId);
    }
  }

  #refreshService(serviceId: string): void {
    const service = this.#view.services.get(serviceId);
    const before = this.#networksOfService.get(serviceId) ?? [];
    const after = service ? networksOfService(this.#view, service) : [];
    for (const networkId of before) this.#services.delete(networkId, serviceId);
    for (const networkId of after) this.#services.add(networkId, serviceId);
    if (after.length > 0) this.#networksOfService.set(serviceId, after);
    else this.#networksOfService.delete(serviceId);
    for (const networkId of new Set([...before, ...after]))
      this.#markSubscribers(networkId, itemKey.virtualService(serviceId, networkId));
  }

  #refreshAddr(nodeId: string): void {
    const addr = dataPathAddr(this.#view, nodeId);
    if (this.#addrs.get(nodeId) === addr) return;
    if (addr) this.#addrs.set(nodeId, addr);
    else this.#addrs.delete(nodeId);
    const ids = [
      ...this.#view.tasks.byNode(nodeId).map(({ id }) => id),
      ...this.#view.containerPlacements.byNode(nodeId).map(({ containerId }) => containerId),
    ];
    for (const id of ids)
      for (const networkId of this.#places.get(id)?.networkIds ?? [])
        this.#markSubscribers(networkId, itemKey.endpoint(id, networkId));
  }

  #refreshPlacement(imageId: string): void {
    const before = this.#holdersOfImage.get(imageId) ?? [];
    const after = this.#view.imagePlacements.get(imageId)?.nodeIds ?? [];
    for (const nodeId of before) this.#imagesOfNode.delete(nodeId, imageId);
    for (const nodeId of after) this.#imagesOfNode.add(nodeId, imageId);
    if (after.length > 0) this.#holdersOfImage.set(imageId, after);
    else this.#holdersOfImage.delete(imageId);
    for (const nodeId of new Set([...before, ...after])) this.#markNode(nodeId, itemKey.image(imageId));
  }

  #refreshVolume(volumeId: string): void {
    const volume = this.#view.volumes.get(volumeId);
    const before = this.#nodeOfVolume.get(volumeId) ?? '';
    const after = volume?.ordered ? nodeOfVolume(this.#view, volume) : '';
    if (before === after) return;
    if (before) this.#volumesOfNode.delete(before, volumeId);
    if (after) this.#volumesOfNode.add(after, volumeId);
    if (after) this.#nodeOfVolume.set(volumeId, after);
    else this.#nodeOfVolume.delete(volumeId);
    for (const nodeId of [before, after]) if (nodeId) this.#markNode(nodeId, itemKey.volume(volumeId));
  }

  #markNode(nodeId: string, key: string): void {
    this.listener.changed(key);
    this.listener.markDirty(nodeId, key);
  }

  #markSubscribers(networkId: string, key: string): void {
    this.listener.changed(key);
    for (const nodeId of this.#subscribers.get(networkId)?.keys() ?? []) this.listener.markDirty(nodeId, key);
  }
}

const EMPTY: ReadonlySet<string> = new Set();

/** Sets by key; a key without members takes no room. */
class SetMap {
  readonly #sets = new Map<string, Set<string>>();

  get(key: string): ReadonlySet<string> {
    return this.#sets.get(key) ?? EMPTY;
  }

  add(key: string, member: string): void {
    const set = this.#sets.get(key);
    if (set) set.add(member);
    else this.#sets.set(key, new Set([member]));
  }

  delete(key: string, member: string): void {
    const set = this.#sets.get(key);
    if (set?.delete(member) && set.size === 0) this.#sets.delete(key);
  }
}
