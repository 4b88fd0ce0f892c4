import type { Change, View } from '@tessera/manager/store';
import { compareStates, isTerminal, observedState, type Task, type TaskStatus } from '@tessera/shared/model';
import { ContainerRules } from './container-rules.js';
import type { Container, Containers } from './containers.js';
import type { SimAgent } from './sim-agent.js';

/** A node counts as reachable once it has been for this long: what it did while away has been put right. */
const SETTLED_MS = 20_000;
/** A node has been told everything once it has been reachable for this long. */
const INFORMED_MS = 3_000;
/** How long two tasks of a slot may run side by side while one of them is told to stop, and stops. */
const OVERLAP_MS = 30_000;

export interface RulesOptions {
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly nowMs: () => number;
  readonly containers: () => Containers;
}

/** What must hold at every step, checked change by change. */
export class Rules {
  readonly #reserved = new Map<string, { nanoCpus: number; memoryBytes: number }>();
  readonly #shares = new Map<string, { nodeId: string; nanoCpus: number; memoryBytes: number }>();
  readonly #addresses = new Map<string, string>();
  readonly #overlapSinceMs = new Map<string, number>();
  readonly broken: string[] = [];
  readonly containerRules: ContainerRules;

  constructor(private readonly options: RulesOptions) {
    this.containerRules = new ContainerRules({
      agents: options.agents,
      isSettled: (nodeId) => this.#isSettled(nodeId),
      isInformed: (nodeId) => this.#isReachableFor(nodeId, INFORMED_MS),
      onBroken: (what) => this.#break(what),
    });
  }

  /** Takes every revision of the store, in order. */
  onChanges(changes: readonly Change[], view: View): void {
    for (const change of changes) {
      if (change.kind === 'tasks') this.#onTask(change as Change<'tasks'>, view);
      if (change.kind === 'taskStatuses') this.#onStatus(change as Change<'taskStatuses'>, view);
      this.containerRules.onChange(change, view);
    }
    for (const change of changes) {
      if (change.kind === 'tasks' || change.kind === 'taskStatuses') this.#count(change.id, view);
    }
  }

  /** Called when a container begins to run, before it is counted. */
  onStart(container: Container): void {
    const { task, nodeId } = container;
    if (this.#isDisowned(nodeId)) return;
    for (const other of this.options.containers().atAddressesOf(task)) {
      if (this.#isDisowned(other.nodeId)) continue;
      this.#break(
        `address of task ${task.id} on ${nodeId} is that of ${other.task.id}, which runs on ${other.nodeId}`,
      );
    }
    // A host that is cut off, or has only just come back, may not know yet that it was replaced.
    if (!this.#isReachableFor(nodeId, INFORMED_MS)) return;
    for (const other of this.options.containers().inSlotOf(task)) {
      if (this.#isStartFirst(task, other.task) || !this.#isSettled(other.nodeId)) continue;
      this.#break(
        `slot ${task.slot} of ${task.serviceName}: ${task.id} starts on ${nodeId} while ${other.task.id} runs on ${other.nodeId}`,
      );
    }
  }

  /** Called after every step. */
  onStep(): void {
    const seen = new Set<string>();
    for (const containers of this.options.containers().sharedSlots()) {
      const settled = containers.filter(({ nodeId }) => this.#isSettled(nodeId));
      if (settled.length < 2) continue;
      const [a, b] = settled as [Container, Container];
      if (this.#isStartFirst(a.task, b.task)) continue;
      const key = `${a.task.id} ${b.task.id}`;
      seen.add(key);
      const sinceMs = this.#overlapSinceMs.get(key) ?? this.options.nowMs();
      this.#overlapSinceMs.set(key, sinceMs);
      if (this.options.nowMs() - sinceMs > OVERLAP_MS)
        this.#break(`slot ${a.task.slot} of ${a.task.serviceName} has two running tasks: ${key}`);
    }
    for (const key of this.#overlapSinceMs.keys()) if (!seen.has(key)) this.#overlapSinceMs.delete(key);
  }

  #onTask({ id, before, after }: Change<'tasks'>, view: View): void {
    if (before && after) {
      if (compareStates(after.state, before.state) < 0)
        this.#break(`task ${id} goes back from ${before.state} to ${after.state}`);
      if (compareStates(after.desiredState, before.desiredState) < 0)
        this.#break(`task ${id} is desired ${after.desiredState} after ${before.desiredState}`);
      if (before.nodeId !== '' && before.nodeId !== after.nodeId)
        this.#break(`task ${id} moves from ${before.nodeId}`);
    }
    if (after && !before) {
      for (const other of view.tasks.byService(after.serviceId)) {
        const isSlot =
          other.id !== id && other.slot === after.slot && (after.slot !== 0 || other.nodeId === after.nodeId);
        if (isSlot && other.epoch?.number === after.epoch?.number)
          this.#break(`tasks ${id} and ${other.id} share an epoch`);
      }
    }
    if (after && !view.specs.get(`${after.serviceId}/${after.specVersion}`))
      this.#break(`task ${id} has no template`);
    const isGivenUp = before?.state === 'orphaned' || this.#isDisowned(before?.nodeId ?? '');
    if (before && !after && !isGivenUp && this.options.containers().isRunning(id)) {
      // Its addresses are free from here on.
      this.#break(`task ${id} is deleted while its container runs on ${before.nodeId}`);
    }
    this.#address(before, after);
  }

  #address(before: Task | undefined, after: Task | undefined): void {
    if (before?.networks === after?.networks) return;
    for (const { networkId, addr } of before?.networks ?? []) this.#addresses.delete(`${networkId} ${addr}`);
    for (const { networkId, addr } of after?.networks ?? []) {
      const holder = this.#addresses.get(`${networkId} ${addr}`);
      if (addr !== '' && holder !== undefined)
        this.#break(`address ${addr} belongs to ${holder} and ${after?.id}`);
      this.#addresses.set(`${networkId} ${addr}`, after?.id ?? '');
    }
  }

  #onStatus({ id, before, after }: Change<'taskStatuses'>, view: View): void {
    if (before && after && compareStates(after.state, before.state) < 0)
      this.#break(`task ${id} goes back from ${before.state} to ${after.state}`);
    if (before && isTerminal(before.state) && after && after.state !== before.state)
      this.#break(`task ${id} ended ${before.state}, then ${after.state}`);
    if (after && !view.tasks.get(id)) this.#break(`a status for task ${id}, which is no more`);
  }

  /** Keeps the sum of reservations on each node. */
  #count(taskId: string, view: View): void {
    const task = view.tasks.get(taskId);
    this.#add(taskId, -1);
    this.#shares.delete(taskId);
    if (!task || !this.#holdsRoom(task, view.taskStatuses.get(taskId))) return;
    const reservations = view.specOf(task).resources?.reservations;
    const { nanoCpus = 0, memoryBytes = 0 } = reservations ?? {};
    this.#shares.set(taskId, { nodeId: task.nodeId, nanoCpus, memoryBytes });
    this.#add(taskId, 1);
    const sum = this.#reserved.get(task.nodeId)!;
    const capacity = this.options.agents.get(task.nodeId)?.capacity;
    if (capacity && (sum.nanoCpus > capacity.nanoCpus || sum.memoryBytes > capacity.memoryBytes))
      this.#break(`${task.nodeId} has more reserved than it has: ${JSON.stringify(sum)}`);
  }

  #holdsRoom(task: Task, status: TaskStatus | undefined): boolean {
    const isPlaced = task.nodeId !== '' && compareStates(task.state, 'assigned') >= 0;
    return isPlaced && !isTerminal(observedState(task, status));
  }

  #add(taskId: string, sign: 1 | -1): void {
    const share = this.#shares.get(taskId);
    if (!share) return;
    const sum = this.#reserved.get(share.nodeId) ?? { nanoCpus: 0, memoryBytes: 0 };
    sum.nanoCpus += sign * share.nanoCpus;
    sum.memoryBytes += sign * share.memoryBytes;
    this.#reserved.set(share.nodeId, sum);
  }

  /** Two of a slot may run together while a start-first update replaces the one by the other. */
  #isStartFirst(a: Task, b: Task): boolean {
    const [older, newer] = (a.epoch?.number ?? 0) < (b.epoch?.number ?? 0) ? [a, b] : [b, a];
    return older.specVersion !== newer.specVersion && !newer.supersedes.includes(older.id);
  }

  #isDisowned(nodeId: string): boolean {
    return this.options.agents.get(nodeId)?.isDisowned ?? false;
  }

  #isSettled(nodeId: string): boolean {
    return this.#isReachableFor(nodeId, SETTLED_MS);
  }

  #isReachableFor(nodeId: string, forMs: number): boolean {
    const agent = this.options.agents.get(nodeId);
    const sinceMs = agent?.isDisowned ? undefined : agent?.reachableSinceMs;
    return sinceMs !== undefined && this.options.nowMs() - sinceMs >= forMs;
  }

  #break(what: string): void {
    // One fault breaks many rules; the first few tell.
    if (this.broken.length < 20) this.broken.push(`${new Date(this.options.nowMs()).toISOString()} ${what}`);
  }
}
