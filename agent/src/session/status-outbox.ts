import type { ContainerState, TaskStatus } from '@tessera/shared/model';
import type { StatusBatch } from '@tessera/shared/wire';
import type { ContainerReporter } from '../containers/index.js';
import type { StatusReporter } from '../worker/worker.js';

/** Keeps a batch well under gRPC's 4 MiB: a status with a long error is about a kilobyte. */
const BATCH_MAX = 500;

/**
 * Statuses on their way to a manager. Of each task, and each container that is no task's, only the latest counts, so however long a manager is away, what
 * waits is bounded by their number. One batch is under way at a time; what comes meanwhile shares the next.
 */
export class StatusOutbox implements StatusReporter, ContainerReporter {
  readonly #waiting = new Map<string, TaskStatus>();
  readonly #containers = new Map<string, ContainerState>();
  #underWay: StatusBatch | undefined;
  #number = 0;
  #onReady: (() => void) | undefined;

  /** @param onAcknowledged a manager has stored these states */
  constructor(
    private readonly onAcknowledged: (states: readonly ContainerState[]) => void = () => undefined,
  ) {}

  /** Everything reported has been acknowledged. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#containers.size === 0;
  }

  report(status: TaskStatus): void {
    this.#waiting.set(status.taskId, status);
    this.#onReady?.();
  }

  forget(taskId: string): void {
    this.#waiting.delete(taskId);
  }

  reportContainer(state: ContainerState): void {
    this.#containers.set(state.containerId, state);
    this.#onReady?.();
  }

  forgetContainer(id: string): void {
    this.#containers.delete(id);
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
  ): void {
    this.#underWay = undefined;
    this.#number = 0;
    for (const status of statuses) this.#waiting.set(status.taskId, status);
    for (const state of containers) this.#containers.set(state.containerId, state);
    this.#onReady = onReady;
  }

  /** Ends the session: nothing is under way any more. */
  end(): void {
    this.#onReady = undefined;
    this.#underWay = undefined;
  }

  /** The next batch to send, or undefined while one is under way or nothing waits. */
  next(): StatusBatch | undefined {
    if (this.#underWay || this.isEmpty) return undefined;
    return this.#batch();
  }

  /** The batch under way once more, with what has come since; undefined when none is. */
  again(): StatusBatch | undefined {
    return this.#underWay && this.#batch();
  }

  acknowledge(number: number): void {
    if (number !== this.#underWay?.number) return;
    for (const status of this.#underWay.statuses)
      if (this.#waiting.get(status.taskId) === status) this.#waiting.delete(status.taskId);
    const { containers } = this.#underWay;
    for (const state of containers)
      if (this.#containers.get(state.containerId) === state) this.#containers.delete(state.containerId);
    this.#underWay = undefined;
    if (containers.length > 0) this.onAcknowledged(containers);
    if (!this.isEmpty) this.#onReady?.();
  }

  #batch(): StatusBatch {
    const statuses = [...this.#waiting.values()].slice(0, BATCH_MAX);
    const containers = [...this.#containers.values()].slice(0, BATCH_MAX);
    this.#underWay = { number: ++this.#number, statuses, containers };
    return this.#underWay;
  }
}
