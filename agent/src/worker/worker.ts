import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { isTerminal, type Task, TaskStatus } from '@tessera/shared/model';
import type { Containers } from '../containers/index.js';
import type { Executor } from '../executor/executor.js';
import type { ImageStore } from '../image/image-store.js';
import type { DesiredNetworks, NetworkPlane } from '../network/network-plane.js';
import type { AgentStorage } from '../storage/index.js';
import { Condition, Semaphore, TaskManager } from '../task/index.js';
import type { Volumes } from '../volumes/index.js';
import type { AssignedWork } from './assignment-set.js';
import { ImageHolder } from './image-holder.js';
import { NetworkApplier } from './network-applier.js';
import { planTasks } from './plan.js';

/** Starts under way at once. More only makes each of them slower: the kernel serialises most of the work. */
const STARTS_AT_ONCE = 16;

/** How late networks are stored. What a death in that time costs, the next session brings. */
const NETWORKS_STORE_MS = 500;

export interface WorkerOptions {
  readonly executor: Executor;
  readonly storage: Omit<AgentStorage, 'registration' | 'putRegistration' | 'containers'>;
  readonly plane: NetworkPlane;
  readonly images: Pick<ImageStore, 'ensure' | 'release'>;
  /** Those that are no task's. */
  readonly containers?: Containers;
  readonly volumes?: Volumes;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Statuses to report, and tasks of which nothing is to be reported any more. */
  readonly reporter: StatusReporter;
}

/** Where statuses go on their way to a manager. */
export interface StatusReporter {
  report(status: TaskStatus): void;
  forget(taskId: string): void;
}

/** Reconciles what is assigned to this node with the tasks that are here. */
export class Worker {
  readonly #managers = new Map<string, TaskManager>();
  readonly #leaving = new Map<string, Promise<void>>();
  /** Per task: the network turn that must have been applied before it starts. */
  readonly #networkTurns = new Map<string, number>();
  readonly #changed = new Condition();
  readonly #starts = new Semaphore(STARTS_AT_ONCE);
  readonly #closing = new AbortController();
  readonly #networks: NetworkApplier;
  readonly #images: ImageHolder;
  #networksVersion: number | undefined;
  #unstoredNetworks: DesiredNetworks | undefined;
  #cancelStore: (() => void) | undefined;
  #networksTurn = 0;
  #assigned: AssignedWork | undefined;

  constructor(private readonly options: WorkerOptions) {
    const { clock, logger, plane, images } = options;
    const signal = this.#closing.signal;
    this.#networks = new NetworkApplier({
      plane,
      clock,
      logger,
      signal,
      onApplied: (networks) => this.#networksApplied(networks),
    });
    this.#images = new ImageHolder(images, { clock, logger, signal });
  }

  /** Ids of the tasks here that have not ended. */
  get activeTaskIds(): string[] {
    return [...this.#managers].filter(([, { status }]) => !isTerminal(status.state)).map(([id]) => id);
  }

  /** Takes up the tasks of the agent's previous life. Once, before the first `apply`. */
  async recover(): Promise<void> {
    const { executor, storage, containers } = this.options;
    await this.#resumeNetworks();
    await executor.recover(new Set([...storage.all().keys(), ...(containers?.knownIds ?? [])]));
    containers?.recover();
    for (const { task, status } of storage.all().values()) this.#start(task, status);
  }

  /**
   * Brings this node to a set of assignments. Returns at once; `settled` tells when its networks are in place.
   *
   * @param newSession the set is the first of a session: its networks are applied even if they look the same
   */
  apply(work: AssignedWork, newSession: boolean): void {
    if (this.#closing.signal.aborted) return;
    if (newSession || work.networksVersion !== this.#networksVersion) {
      this.#networksVersion = work.networksVersion;
      this.#networksTurn = this.#networks.request(work.networks, work.sequence);
    }
    this.#assigned = work;
    this.#images.want(work.images);
    // Before what might name one that is to go.
    this.options.volumes?.apply(work.volumes);
    this.options.containers?.apply(work.containers);

    const here = new Map([...this.#managers].map(([id, manager]) => [id, manager.task]));
    for (const change of planTasks(here, new Set(this.#leaving.keys()), work.tasks)) {
      switch (change.kind) {
        case 'start':
          this.#networkTurns.set(change.task.id, this.#networksTurn);
          this.#accept(change.task);
          break;
        case 'update':
          this.#update(change.task);
          break;
        case 'remove':
          this.#remove(change.taskId);
      }
    }
    // Tasks recovered from before wait for a first word on their networks.
    for (const taskId of work.tasks.keys())
      if (!this.#networkTurns.has(taskId)) this.#networkTurns.set(taskId, this.#networksTurn);
    this.#changed.notify();
  }

  /** Resolves once the networks of the latest `apply` are in the kernel. */
  settled(signal: AbortSignal): Promise<void> {
    const turn = this.#networksTurn;
    return this.#changed.until(() => this.#networks.appliedTurn >= turn, signal);
  }

  /** The latest status of every task here: what a new session begins with. */
  statuses(): TaskStatus[] {
    return [...this.#managers.values()].map((manager) => manager.status);
  }

  /** Ends and removes every task here: this node leaves its cluster. */
  async removeAll(): Promise<void> {
    this.#assigned = undefined;
    for (const taskId of this.#managers.keys()) if (!this.#leaving.has(taskId)) this.#remove(taskId);
    await Promise.all([...this.#leaving.values(), this.options.containers?.removeAll()]);
  }

  /** Leaves everything running, for the next agent. */
  async close(): Promise<void> {
    this.#storeNetworks();
    this.#closing.abort(new DOMException('the agent stops', 'AbortError'));
    await Promise.all([
      this.options.containers?.close(),
      ...[...this.#managers.values()].map((manager) => manager.close()),
    ]);
    await Promise.allSettled(this.#leaving.values());
  }

  /** Containers live on, and with them the networks they use, whether a manager answers or not. */
  async #resumeNetworks(): Promise<void> {
    const { storage, plane, logger } = this.options;
    const networks = storage.networks();
    if (!networks) return;
    await plane.apply(networks, 0).catch((error: unknown) => {
      logger.error({ error }, 'the networks of before could not be brought back; the next set will');
    });
  }

  #networksApplied(networks: DesiredNetworks): void {
    this.#unstoredNetworks = networks;
    // While tasks come and go, networks change with each of them: one write serves them all.
    this.#cancelStore ??= this.options.clock.after(NETWORKS_STORE_MS, () => this.#storeNetworks());
    this.#changed.notify();
  }

  #storeNetworks(): void {
    this.#cancelStore?.();
    this.#cancelStore = undefined;
    if (this.#unstoredNetworks) this.options.storage.putNetworks(this.#unstoredNetworks);
    this.#unstoredNetworks = undefined;
  }

  #accept(task: Task): void {
    const { storage, reporter } = this.options;
    const status = TaskStatus.create({
      taskId: task.id,
      nodeId: task.nodeId,
      state: 'assigned',
      message: 'assigned',
      atMs: this.options.clock.now(),
    });
    storage.put({ task, status });
    reporter.report(status);
    this.#start(task, status);
  }

  #start(task: Task, status: TaskStatus): void {
    const { executor, storage, reporter, clock } = this.options;
    const manager: TaskManager = new TaskManager(task, status, {
      controller: executor.controller(task),
      clock,
      logger: this.options.logger.child({ 'task.id': task.id, 'service.id': task.serviceId }),
      mayStart: (current, signal) => this.#mayStart(current, signal),
      inTurn: (work, signal) => this.#starts.run(work, signal),
      onStatus: (next) => {
        const { task: current } = this.#managers.get(task.id) ?? { task };
        storage.put({ task: current, status: next });
        if (!this.#leaving.has(task.id)) reporter.report(next);
        this.#changed.notify();
      },
    });
    this.#managers.set(task.id, manager);
  }

  #update(task: Task): void {
    const manager = this.#managers.get(task.id)!;
    manager.update(task);
    this.options.storage.put({ task, status: manager.status });
  }

  #remove(taskId: string): void {
    const { storage, reporter, logger } = this.options;
    const manager = this.#managers.get(taskId)!;
    reporter.forget(taskId);
    const gone = manager.remove(this.#closing.signal).then(
      () => {
        storage.delete(taskId);
        this.#managers.delete(taskId);
        this.#networkTurns.delete(taskId);
        this.#leaving.delete(taskId);
        this.#changed.notify();
        this.#assignedAgain(taskId);
      },
      (error: unknown) => {
        if (!this.#closing.signal.aborted)
          logger.error({ error, 'task.id': taskId }, 'task could not be removed');
      },
    );
    this.#leaving.set(taskId, gone);
  }

  /** A task that was assigned again while its old container was taken apart starts now. */
  #assignedAgain(taskId: string): void {
    const task = this.#assigned?.tasks.get(taskId);
    if (!task || this.#closing.signal.aborted) return;
    this.#networkTurns.set(taskId, this.#networksTurn);
    this.#accept(task);
  }

  /** Waits for the task's time, for the end of what it supersedes, and for its networks. */
  async #mayStart(task: Task, signal: AbortSignal): Promise<void> {
    const { clock } = this.options;
    const inForce = () =>
      (this.#networkTurns.get(task.id) ?? Number.POSITIVE_INFINITY) <= this.#networks.appliedTurn;
    const alone = () => task.supersedes.every((id) => this.#hasStopped(id));
    await this.#changed.until(() => inForce() && alone(), signal);
    const waitMs = task.startNotBeforeMs - clock.now();
    if (waitMs > 0) await delay(clock, waitMs, signal);
  }

  /** Nothing of the task runs on this node. One that is not here is the manager's concern. */
  #hasStopped(taskId: string): boolean {
    const manager = this.#managers.get(taskId);
    return !manager || isTerminal(manager.status.state);
  }
}
