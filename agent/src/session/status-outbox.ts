import type { ContainerState, TaskStatus, VolumeState } from '@tessera/shared/model';
import type { StatusBatch } from '@tessera/shared/wire';
import type { ContainerReporter } from '../containers/index.js';
import type { VolumeReporter } from '../volumes/index.js';
import type { StatusReporter } from '../worker/worker.js';

/** Keeps a batch well under gRPC's 4 MiB: a status with a long error is about a kilobyte. */
const BATCH_MAX = 500;
/** An end need not wait until the start before it has been stored; a busy manager still is sent few, large batches. */
const UNDER_WAY_MAX = 4;

/**
 * Statuses on their way to a manager. Of each task, each container that is no task's, and each volume only the latest
 * counts, so however long a manager is away, what waits is bounded by their number. Few batches are under way at a time,
 * in order; what comes meanwhile shares the next.
 */
export class StatusOutbox implements StatusReporter, ContainerReporter, VolumeReporter {
  readonly #waiting = new Map<string, TaskStatus>();
  readonly #containers = new Map<string, ContainerState>();
  readonly #volumes = new Map<string, VolumeState>();
  #underWay: StatusBatch[] = [];
  #number = 0;
  #onReady: (() => void) | undefined;

  /** @param onStored a manager has stored these states, or newer ones */
  constructor(private readonly onStored: (states: readonly ContainerState[]) => void = () => undefined) {}

  /** Everything reported has been acknowledged. */
  get isEmpty(): boolean {
    return this.#underWay.length === 0 && !this.#hasWaiting;
  }

  get #hasWaiting(): boolean {
    return this.#waiting.size > 0 || this.#containers.size > 0 || this.#volumes.size > 0;
  }

  report(status: TaskStatus): void {
    this.#waiting.set(status.taskId, status);
    this.#onReady?.();
  }

  forget(taskId: string): void {
    this.#waiting.delete(taskId);
    this.#underWay = this.#underWay.map((batch) => ({
      ...batch,
      statuses: batch.statuses.filter((status) => status.taskId !== taskId),
    }));
  }

  reportContainer(state: ContainerState): void {
    this.#containers.set(state.containerId, state);
    this.#onReady?.();
  }

  reportVolume(state: VolumeState): void {
    this.#volumes.set(keyOf(state), state);
    this.#onReady?.();
  }

  forgetContainer(id: string): void {
    this.#containers.delete(id);
    this.#underWay = this.#underWay.map((batch) => ({
      ...batch,
      containers: batch.containers.filter((state) => state.containerId !== id),
    }));
  }

  /**
   * Begins a session: everything known is reported anew, since the last session may have ended before it was told.
   *
   * @param onReady called when `next` may have a batch
   */
  begin(
    statuses: Iterable<TaskStatus>,
    onReady: () => void,
    containers: Iterable<ContainerState> = [],
    volumes: Iterable<VolumeState> = [],
  ): void {
    this.#takeBack();
    this.#number = 0;
    for (const status of statuses) this.#waiting.set(status.taskId, status);
    for (const state of containers) this.#containers.set(state.containerId, state);
    for (const state of volumes) this.#volumes.set(keyOf(state), state);
    this.#onReady = onReady;
  }

  /** Ends the session: nothing is under way any more. */
  end(): void {
    this.#onReady = undefined;
    this.#takeBack();
  }

  /** The next batch to send, or undefined while enough are under way or nothing waits. */
  next(): StatusBatch | undefined {
    if (this.#underWay.length >= UNDER_WAY_MAX || !this.#hasWaiting) return undefined;
    return this.#batch();
  }

  /** What is under way once more, with what has come since; undefined when nothing is. */
  again(): StatusBatch | undefined {
    if (this.#underWay.length === 0) return undefined;
    this.#takeBack();
    return this.#hasWaiting ? this.#batch() : undefined;
  }

  /** A number that is not under way is of an attempt before the latest. */
  acknowledge(number: number): void {
    const batch = this.#underWay.find((one) => one.number === number);
    this.#underWay = this.#underWay.filter((one) => one !== batch);
    if (batch && batch.containers.length > 0) this.onStored(batch.containers);
    if (this.#hasWaiting) this.#onReady?.();
  }

  /** Puts what has not been acknowledged back to what waits, unless something later does. */
  #takeBack(): void {
    for (const { statuses, containers, volumes } of this.#underWay.splice(0).reverse()) {
      for (const status of statuses)
        if (!this.#waiting.has(status.taskId)) this.#waiting.set(status.taskId, status);
      for (const state of containers)
        if (!this.#containers.has(state.containerId)) this.#containers.set(state.containerId, state);
      for (const state of volumes)
        if (!this.#volumes.has(keyOf(state))) this.#volumes.set(keyOf(state), state);
    }
  }

  #batch(): StatusBatch {
    const statuses = takeFirst(this.#waiting);
    const containers = takeFirst(this.#containers);
    const volumes = takeFirst(this.#volumes);
    const batch = { number: ++this.#number, statuses, containers, volumes };
    this.#underWay.push(batch);
    return batch;
  }
}

function takeFirst<T>(waiting: Map<string, T>): T[] {
  const taken = [...waiting].slice(0, BATCH_MAX);
  for (const [id] of taken) waiting.delete(id);
  return taken.map(([, each]) => each);
}

/** One that a node had for itself and the cluster's of that name are two. */
const keyOf = ({ volumeId, name }: VolumeState): string => `${volumeId}/${name}`;
