import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { ContainerState } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { ContainerStorage } from '../storage/index.js';
import { Semaphore } from '../task/semaphore.js';
import { ContainerLoop } from './container-loop.js';
import { afterBoot, firstProgress } from './progress.js';
import type { ContainerRuntime } from './runtime.js';

/** Starts under way at once, as for tasks: the kernel does most of a start one after the other. */
const STARTS_AT_ONCE = 16;

/** Where containers' states go on their way to a manager. */
export interface ContainerReporter {
  reportContainer(state: ContainerState): void;
  forgetContainer(id: string): void;
}

export interface ContainersOptions {
  readonly runtime: ContainerRuntime;
  readonly storage: ContainerStorage;
  readonly reporter: ContainerReporter;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The containers of this node that are no task's. */
export class Containers {
  readonly #loops = new Map<string, ContainerLoop>();
  readonly #leaving = new Map<string, Promise<void>>();
  /** How many clients are attached, by container. */
  readonly #attached = new Map<string, number>();
  readonly #starts = new Semaphore(STARTS_AT_ONCE);
  #assigned: ReadonlyMap<string, ContainerAssignment> = new Map();
  #closed = false;
  #isConfirmed = false;

  constructor(private readonly options: ContainersOptions) {}

  /** Ids of the containers that an earlier agent had. */
  get knownIds(): string[] {
    return [...this.options.storage.all().keys()];
  }

  /** Ids of the containers here that run. */
  get activeIds(): string[] {
    return [...this.#loops].filter(([, { state }]) => state.starts > state.exits).map(([id]) => id);
  }

  /** Takes up the containers of the agent's previous life, which the executor has recovered. Once, at first. */
  recover(): void {
    const { storage, runtime, clock } = this.options;
    for (const [id, stored] of [...storage.all()]) {
      if (stored.memory.bootId !== runtime.bootId)
        storage.put(id, { ...stored, ...afterBoot(stored, runtime.bootId, clock.now()) });
      this.#start(id);
    }
  }

  /** Brings this node to a set of assignments. Returns at once. */
  apply(assigned: ReadonlyMap<string, ContainerAssignment>): void {
    if (this.#closed) return;
    this.#assigned = assigned;
    for (const [id, loop] of this.#loops)
      if (!this.#leaving.has(id) && !isSameLife(loop.assignment, assigned.get(id))) this.#dismiss(id);
    for (const [id, assignment] of assigned) {
      if (this.#leaving.has(id)) continue;
      const loop = this.#loops.get(id);
      if (loop) loop.update(assignment);
      else this.#accept(id, assignment);
    }
    if (this.#isConfirmed) return;
    this.#isConfirmed = true;
    for (const loop of this.#loops.values()) loop.wake();
  }

  /** The latest state of every container here: what a new session begins with. */
  states(): ContainerState[] {
    return [...this.#loops.values()].map(({ state }) => state);
  }

  /** A manager has stored these states. */
  acknowledged(states: readonly ContainerState[]): void {
    for (const { containerId, sequence } of states) this.#loops.get(containerId)?.acknowledge(sequence);
  }

  /** @throws ClusterError `notFound` */
  get(id: string): ContainerLoop {
    const loop = this.#loops.get(id);
    if (!loop || loop.isRemoved) throw new ClusterError('notFound', `No such container: ${id}`);
    return loop;
  }

  /** Counts a client in; while any is attached, a container of `--rm` stays. Returns what counts it out. */
  attach(id: string): () => void {
    this.#attached.set(id, (this.#attached.get(id) ?? 0) + 1);
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      const left = (this.#attached.get(id) ?? 1) - 1;
      if (left > 0) this.#attached.set(id, left);
      else this.#attached.delete(id);
      this.#loops.get(id)?.wake();
    };
  }

  /** Ends and removes every container here: this node leaves its cluster. */
  async removeAll(): Promise<void> {
    this.#assigned = new Map();
    for (const id of this.#loops.keys()) if (!this.#leaving.has(id)) this.#dismiss(id);
    await Promise.all(this.#leaving.values());
  }

  /** Leaves everything running, for the next agent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#loops.values()].map((loop) => loop.close()));
  }

  #accept(id: string, assignment: ContainerAssignment): void {
    const { storage, runtime, clock } = this.options;
    storage.put(id, { assignment, ...firstProgress(assignment, runtime.bootId, clock.now()) });
    this.#start(id);
  }

  #start(id: string): void {
    const { runtime, storage, clock, logger, reporter } = this.options;
    const loop = new ContainerLoop(id, storage.all().get(id)!, {
      runtime,
      storage,
      clock,
      logger: logger.child({ 'container.id': id }),
      inTurn: (work, signal) => this.#starts.run(work, signal),
      onState: (state) => {
        if (!this.#leaving.has(id)) reporter.reportContainer(state);
      },
      isAttached: () => this.#attached.has(id),
      isConfirmed: () => this.#isConfirmed,
    });
    this.#loops.set(id, loop);
  }

  #dismiss(id: string): void {
    this.options.reporter.forgetContainer(id);
    const gone = this.#loops
      .get(id)!
      .dismiss()
      .then(() => {
        this.#leaving.delete(id);
        if (this.#closed) return;
        this.#loops.delete(id);
        // Assigned again while it was taken apart: a new one.
        const again = this.#assigned.get(id);
        if (again) this.#accept(id, again);
      });
    this.#leaving.set(id, gone);
  }
}

/** Still here, and not one that went to another node and came back meanwhile, of which nothing here is left. */
const isSameLife = (here: ContainerAssignment, assigned: ContainerAssignment | undefined): boolean =>
  assigned !== undefined && here.placement?.epoch === assigned.placement?.epoch;
