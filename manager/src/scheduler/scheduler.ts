import type { Clock } from '@tessera/shared/env';
import { isBefore, type Task } from '@tessera/shared/model';
import { asTask, containerOf, containerOwner, needsNode } from '../loops/containers.js';
import { isWanted } from '../loops/facts.js';
import type { LoopDefinition, Outcome } from '../loops/leader-loop.js';
import type { Change, Store, Transaction, View } from '../store/view.js';
import { applyContainerPlacement, takesMore } from './container-placement.js';
import { NodeSet } from './node-set.js';
import { type Placement, planPlacements } from './place.js';

/** The one id under which everything that waits is placed. */
const PENDING = 'pending';
/** Objects written or required per transaction: etcd takes 128 operations. */
const WEIGHT_MAX = 100;
/** A task that waits for long is told of every turn of its luck, but not more often than this. */
const REASON_EVERY_MS = 5_000;

/** Gives pending tasks and new containers a node, or says why there is none for them. */
export function schedulerLoop(store: Store, clock: Clock): Scheduler {
  return new Scheduler(store, clock);
}

export class Scheduler implements LoopDefinition {
  readonly name = 'scheduler';
  readonly concurrency = 1;
  #nodes: NodeSet | undefined;
  /** What to read again from the store; rebuilt from it by every leader. */
  readonly #pending = new Set<string>();
  /** When each of those was last told why it waits. */
  readonly #toldAtMs = new Map<string, number>();

  constructor(
    private readonly store: Store,
    private readonly clock: Clock,
  ) {}

  *ids(view: View): Iterable<string> {
    this.#nodes ??= new NodeSet(view);
    for (const task of view.tasks.all()) this.#note(task);
    for (const { id } of view.containers.all()) this.#noteContainer(id, view);
    yield PENDING;
  }

  touched(changes: readonly Change[], view: View): Iterable<string> {
    let mayPlaceMore = false;
    for (const change of changes) {
      if (change.kind === 'tasks') {
        const { after } = change as Change<'tasks'>;
        const isNew = after !== undefined && this.#note(after);
        if (!after) this.#pending.delete(change.id);
        mayPlaceMore ||= isNew;
      } else if (change.kind === 'containers' || change.kind === 'containerPlacements') {
        if (this.#noteContainer(change.id, view)) mayPlaceMore = true;
      } else if (change.kind === 'volumePlacements') {
        // Who was to have been placed elsewhere with that volume is placed anew.
        mayPlaceMore = true;
      }
      if (this.#nodes?.apply(change, view, this.clock.now())) mayPlaceMore = true;
    }
    return mayPlaceMore && this.#pending.size > 0 ? [PENDING] : [];
  }

  /** @returns whether the task has just begun to wait for a node */
  #note(task: Task): boolean {
    if (task.state !== 'pending' || !isWanted(task)) {
      this.#pending.delete(task.id);
      return false;
    }
    const isNew = !this.#pending.has(task.id);
    this.#pending.add(task.id);
    return isNew;
  }

  /** @returns whether the container waits for a node */
  #noteContainer(id: string, view: View): boolean {
    const container = view.containers.get(id);
    const waits = container !== undefined && needsNode(container, view.containerPlacements.get(id));
    if (waits) this.#pending.add(containerOwner(id));
    else this.#pending.delete(containerOwner(id));
    return waits;
  }

  /** What waits under an id, as the filters see it; undefined once it waits no longer. */
  #waiting(id: string, view: View): Task | undefined {
    const containerId = containerOf(id);
    if (containerId === undefined) {
      const task = view.tasks.get(id);
      return task?.state === 'pending' && isWanted(task) ? task : undefined;
    }
    const container = view.containers.get(containerId);
    const placement = view.containerPlacements.get(containerId);
    if (!container || !needsNode(container, placement)) return undefined;
    return asTask(container, '', placement?.pendingReason);
  }

  /**
   * Gives a container of this transaction its node, or says why it has none. What it takes of the node counts at once, so
   * that nothing else is given it meanwhile; `recount` is to be called once the transaction is over, however it ended.
   */
  placeIn(tx: Transaction, containerId: string): void {
    const container = tx.containers.get(containerId);
    if (!container || !needsNode(container, tx.containerPlacements.get(containerId))) return;
    this.#nodes ??= new NodeSet(this.store.view());
    // The transaction may run again: what it took the first time does not count against it.
    this.recount(containerId);
    const nowMs = this.clock.now();
    const [placement] = planPlacements([asTask(container, '')], { nodes: this.#nodes, view: tx, nowMs });
    if (placement) applyContainerPlacement(tx, containerId, placement, nowMs);
  }

  recount(containerId: string): void {
    this.#nodes?.refresh(containerOwner(containerId), this.store.view());
  }

  async reconcile(): Promise<Outcome> {
    const view = this.store.view();
    this.#nodes ??= new NodeSet(view);
    const nodes = this.#nodes;
    const tasks: Task[] = [];
    for (const id of this.#pending) {
      const task = this.#waiting(id, view);
      if (task) tasks.push(task);
      else this.#pending.delete(id);
    }
    if (tasks.length === 0) return { worked: false };

    const planned = planPlacements(tasks, { nodes, view, nowMs: this.clock.now() });
    const { placements, wakeAtMs } = this.#withholdReasons(planned);
    try {
      let worked = false;
      for (const piece of piecesOf(placements)) worked = (await this.#commit(piece)) || worked;
      return { worked, wakeAtMs };
    } finally {
      // What was not written is not there: count again what the store says.
      const latest = this.store.view();
      for (const { task, nodeId } of placements) if (nodeId !== undefined) nodes.refresh(task.id, latest);
    }
  }

  /** Leaves out what need not be written: reasons that are known, and those that change too often. */
  #withholdReasons(planned: readonly Placement[]): {
    placements: readonly Placement[];
    wakeAtMs: number | undefined;
  } {
    const nowMs = this.clock.now();
    let wakeAtMs: number | undefined;
    const placements = planned.filter((placement) => {
      if (placement.nodeId !== undefined) return true;
      const { id, pendingReason } = placement.task;
      if (placement.reason === pendingReason) return false;
      const dueAtMs = (this.#toldAtMs.get(id) ?? Number.NEGATIVE_INFINITY) + REASON_EVERY_MS;
      if (pendingReason === '' || dueAtMs <= nowMs) {
        this.#toldAtMs.set(id, nowMs);
        return true;
      }
      wakeAtMs = Math.min(wakeAtMs ?? dueAtMs, dueAtMs);
      return false;
    });
    for (const id of this.#toldAtMs.keys()) if (!this.#pending.has(id)) this.#toldAtMs.delete(id);
    return { placements, wakeAtMs };
  }

  #commit(piece: readonly Placement[]): Promise<boolean> {
    return this.store.update((tx) => {
      let worked = false;
      for (const placement of piece) worked = applyPlacement(tx, placement, this.clock.now()) || worked;
      return worked;
    });
  }
}

/** What still holds of a placement is written; the rest is decided anew when its change is seen. */
function applyPlacement(tx: Transaction, placement: Placement, nowMs: number): boolean {
  const containerId = containerOf(placement.task.id);
  if (containerId !== undefined) return applyContainerPlacement(tx, containerId, placement, nowMs);
  const task = tx.tasks.get(placement.task.id);
  if (!task || !isBefore(task.state, 'assigned') || !isWanted(task)) return false;
  if (placement.nodeId === undefined) {
    if (task.pendingReason === placement.reason) return false;
    tx.put('tasks', { ...task, pendingReason: placement.reason });
    return true;
  }
  const { nodeId } = placement;
  if (!takesMore(tx, nodeId)) return false;
  tx.put('tasks', { ...task, state: 'assigned', nodeId, assignedAtMs: nowMs, pendingReason: '' });
  return true;
}

function* piecesOf(placements: readonly Placement[]): Iterable<Placement[]> {
  let piece: Placement[] = [];
  let nodes = new Set<string>();
  let weight = 0;
  for (const placement of placements) {
    // A container's object and placement, and where it moves, the node that it leaves and its status.
    const own = containerOf(placement.task.id) === undefined ? 1 : 4;
    const more = placement.nodeId === undefined || nodes.has(placement.nodeId) ? 0 : 2;
    if (piece.length > 0 && weight + own + more > WEIGHT_MAX) {
      yield piece;
      piece = [];
      nodes = new Set();
      weight = 0;
    }
    piece.push(placement);
    weight += own + (placement.nodeId === undefined || nodes.has(placement.nodeId) ? 0 : 2);
    if (placement.nodeId !== undefined) nodes.add(placement.nodeId);
  }
  if (piece.length > 0) yield piece;
}
