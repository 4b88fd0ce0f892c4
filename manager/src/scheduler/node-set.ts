import {
  isBefore,
  isTerminal,
  type Node,
  type NodeStatus,
  observedState,
  type Task,
} from '@tessera/shared/model';
import { asTask, containerOf, containerOwner } from '../loops/containers.js';
import { isWanted } from '../loops/facts.js';
import type { Change, View } from '../store/view.js';
import { FailureLog } from './failure-log.js';

/** What a task takes of the node it is on. */
interface Share {
  readonly node: number;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly pids: number;
  /** Empty when the task does not count towards its service's spread: it is on its way out. */
  readonly serviceId: string;
}

/** A node as the filters see it. `index` is its place in the set's arrays. */
export interface NodeEntry {
  readonly index: number;
  readonly node: Node;
  readonly status: NodeStatus | undefined;
}

const GROWTH = 64;

/**
 * Every node with what is left of it, kept up with the store change by change, so that a decision costs
 * what changed and not the size of the cluster.
 */
export class NodeSet {
  readonly #indexes = new Map<string, number>();
  readonly #entries: (NodeEntry | undefined)[] = [];
  /** The same in order of node id; undefined when a node has come or gone since. */
  #sorted: NodeEntry[] | undefined;
  readonly #freeIndexes: number[] = [];
  readonly #shares = new Map<string, Share>();
  /** Tasks per service on each node, by index. */
  readonly #perService = new Map<string, Map<number, number>>();
  /** Ids of the containers on each node, by index. */
  readonly #containers = new Map<number, Set<string>>();
  #nanoCpus = new Float64Array(GROWTH);
  #memoryBytes = new Float64Array(GROWTH);
  #pids = new Float64Array(GROWTH);
  #taskCounts = new Int32Array(GROWTH);
  readonly failures = new FailureLog();

  constructor(view: View) {
    for (const node of view.nodes.all()) this.#setNode(node.id, view);
    for (const task of view.tasks.all()) this.#setTask(task.id, view);
    for (const { containerId } of view.containerPlacements.all()) this.#setContainer(containerId, view);
  }

  /**
   * Takes over one change.
   *
   * @returns whether a task that waits may now have a chance that it had not before
   */
  apply(change: Change, view: View, nowMs: number): boolean {
    switch (change.kind) {
      case 'nodes':
      case 'nodeStatuses':
        this.#setNode(change.id, view);
        return true;
      case 'tasks':
        return this.#setTask(change.id, view);
      case 'taskStatuses': {
        const { before, after } = change as Change<'taskStatuses'>;
        const hasFailed = after?.state === 'failed' || after?.state === 'rejected';
        if (hasFailed && before?.state !== after.state) {
          const task = view.tasks.get(change.id);
          if (task) this.failures.note(task.serviceId, task.nodeId, nowMs);
        }
        return this.#setTask(change.id, view);
      }
      case 'containers':
      case 'containerPlacements':
        return this.#setContainer(change.id, view);
      default:
        return false;
    }
  }

  /** In order of node id, so that ties fall the same way on every manager. */
  entries(): readonly NodeEntry[] {
    this.#sorted ??= this.#entries
      .filter((entry) => entry !== undefined)
      .sort((a, b) => (a.node.id < b.node.id ? -1 : 1));
    return this.#sorted;
  }

  get(nodeId: string): NodeEntry | undefined {
    const index = this.#indexes.get(nodeId);
    return index === undefined ? undefined : this.#entries[index];
  }

  /** What the node's capacity leaves after all reservations on it; below 0 when its capacity has shrunk. */
  freeNanoCpus = ({ index, status }: NodeEntry): number =>
    (status?.description?.capacity?.nanoCpus ?? 0) - this.#nanoCpus[index]!;
  freeMemoryBytes = ({ index, status }: NodeEntry): number =>
    (status?.description?.capacity?.memoryBytes ?? 0) - this.#memoryBytes[index]!;
  freePids = ({ index, status }: NodeEntry): number =>
    (status?.description?.capacity?.pids ?? 0) - this.#pids[index]!;

  taskCount = ({ index }: NodeEntry): number => this.#taskCounts[index]!;

  taskCountOf = (serviceId: string, { index }: NodeEntry): number =>
    this.#perService.get(serviceId)?.get(index) ?? 0;

  /** The containers there, by id; tasks' are not among them. */
  containersOn = ({ index }: NodeEntry): readonly string[] => [...(this.#containers.get(index) ?? [])];

  /** Counts a task onto a node ahead of the store, which will say the same, or take it back by `refresh`. */
  place(task: Task, entry: NodeEntry, view: View): void {
    this.#setShare(
      task.id,
      shareOf({ ...task, nodeId: entry.node.id, state: 'assigned' }, entry.index, view),
    );
  }

  /** What the store says of a task or container, whatever was placed before. */
  refresh(taskId: string, view: View): void {
    const containerId = containerOf(taskId);
    if (containerId === undefined) this.#setTask(taskId, view);
    else this.#setContainer(containerId, view);
  }

  #setNode(id: string, view: View): void {
    const node = view.nodes.get(id);
    const known = this.#indexes.get(id);
    if (!node) {
      // The index is used again only once no task counts on it any more.
      if (known !== undefined) this.#entries[known] = undefined;
      this.#sorted = undefined;
      this.#release(id);
      return;
    }
    const index = known ?? this.#newIndex(id);
    this.#putEntry({ index, node, status: view.nodeStatuses.get(id) });
  }

  #putEntry(entry: NodeEntry): void {
    const before = this.#entries[entry.index];
    this.#entries[entry.index] = entry;
    if (!this.#sorted) return;
    if (before) this.#sorted[positionOf(this.#sorted, entry.node.id)] = entry;
    else this.#sorted = undefined;
  }

  #release(id: string): void {
    const index = this.#indexes.get(id);
    if (index === undefined || this.#entries[index] !== undefined || this.#taskCounts[index]! > 0) return;
    this.#indexes.delete(id);
    this.#freeIndexes.push(index);
  }

  #newIndex(id: string): number {
    const index = this.#freeIndexes.pop() ?? this.#entries.length;
    this.#entries[index] ??= undefined;
    if (index >= this.#taskCounts.length) this.#grow();
    this.#indexes.set(id, index);
    return index;
  }

  #grow(): void {
    const length = this.#taskCounts.length * 2;
    const larger = (old: Float64Array) => {
      const array = new Float64Array(length);
      array.set(old);
      return array;
    };
    this.#nanoCpus = larger(this.#nanoCpus);
    this.#memoryBytes = larger(this.#memoryBytes);
    this.#pids = larger(this.#pids);
    const counts = new Int32Array(length);
    counts.set(this.#taskCounts);
    this.#taskCounts = counts;
  }

  /** @returns whether the task has given something back */
  #setTask(taskId: string, view: View): boolean {
    const task = view.tasks.get(taskId);
    const before = this.#shares.get(taskId);
    if (
      !task?.nodeId ||
      isBefore(task.state, 'assigned') ||
      isTerminal(observedState(task, view.taskStatuses.get(taskId)))
    ) {
      this.#setShare(taskId, undefined);
      return before !== undefined;
    }
    const index = this.#indexes.get(task.nodeId) ?? this.#newIndex(task.nodeId);
    const share = shareOf(task, index, view);
    if (before && before.node === share.node && before.serviceId === share.serviceId) return false;
    this.#setShare(taskId, share);
    // One that no longer counts may make room under a limit of replicas per node.
    return before !== undefined;
  }

  /**
   * A container keeps its share until it is removed: stopped, it may be started again at any time.
   *
   * @returns whether it has given something back
   */
  #setContainer(containerId: string, view: View): boolean {
    const container = view.containers.get(containerId);
    const nodeId = view.containerPlacements.get(containerId)?.nodeId ?? '';
    const owner = containerOwner(containerId);
    const before = this.#shares.get(owner);
    if (!container || nodeId === '') {
      this.#setShare(owner, undefined);
      return before !== undefined;
    }
    const index = this.#indexes.get(nodeId) ?? this.#newIndex(nodeId);
    const share = shareOf(asTask(container, nodeId), index, view);
    if (before && before.node === share.node && before.memoryBytes === share.memoryBytes) return false;
    this.#setShare(owner, share);
    return before !== undefined;
  }

  #setShare(taskId: string, share: Share | undefined): void {
    const before = this.#shares.get(taskId);
    const containerId = containerOf(taskId);
    if (before) this.#add(before, -1);
    if (before && containerId !== undefined) this.#containers.get(before.node)?.delete(containerId);
    if (share && containerId !== undefined) setIn(this.#containers, share.node).add(containerId);
    if (share) {
      this.#shares.set(taskId, share);
      this.#add(share, 1);
    } else {
      this.#shares.delete(taskId);
    }
    if (before && this.#entries[before.node] === undefined) this.#releaseIndex(before.node);
  }

  #releaseIndex(index: number): void {
    const owner = [...this.#indexes].find(([, known]) => known === index);
    if (owner) this.#release(owner[0]);
  }

  #add(share: Share, sign: 1 | -1): void {
    const { node, serviceId } = share;
    this.#nanoCpus[node]! += sign * share.nanoCpus;
    this.#memoryBytes[node]! += sign * share.memoryBytes;
    this.#pids[node]! += sign * share.pids;
    this.#taskCounts[node]! += sign;
    if (!serviceId) return;
    let counts = this.#perService.get(serviceId);
    if (!counts) {
      counts = new Map();
      this.#perService.set(serviceId, counts);
    }
    const count = (counts.get(node) ?? 0) + sign;
    if (count > 0) counts.set(node, count);
    else counts.delete(node);
    if (counts.size === 0) this.#perService.delete(serviceId);
  }
}

/** Where the node with this id lies among the sorted entries. */
function positionOf(sorted: readonly NodeEntry[], nodeId: string): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.node.id < nodeId) low = middle + 1;
    else high = middle;
  }
  return low;
}

function shareOf(task: Task, node: number, view: View): Share {
  const reservations = view.specOf(task).resources?.reservations;
  return {
    node,
    nanoCpus: reservations?.nanoCpus ?? 0,
    memoryBytes: reservations?.memoryBytes ?? 0,
    pids: reservations?.pids ?? 0,
    serviceId: isWanted(task) ? task.serviceId : '',
  };
}

function setIn(sets: Map<number, Set<string>>, index: number): Set<string> {
  const known = sets.get(index);
  if (known) return known;
  const made = new Set<string>();
  sets.set(index, made);
  return made;
}
