import type { TaskStatus } from '@tessera/shared/model';
import type { StatusBatch } from '@tessera/shared/wire';
import type { StatusReporter } from '../worker/worker.js';

/** Keeps a batch well under gRPC's 4 MiB: a status with a long error is about a kilobyte. */
const BATCH_MAX = 500;

/**
 * Statuses on their way to a manager. Of each task only the latest counts, so however long a manager is away, what
 * waits is bounded by the number of tasks. One batch is under way at a time; what comes meanwhile shares the next.
 */
export class StatusOutbox implements StatusReporter {
  readonly #waiting = new Map<string, TaskStatus>();
  #underWay: StatusBatch | undefined;
  #number = 0;
  #onReady: (() => void) | undefined;

  /** Everything reported has been acknowledged. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  report(status: TaskStatus): void {
    this.#waiting.set(status.taskId, status);
    this.#onReady?.();
  }

  forget(taskId: string): void {
    this.#waiting.delete(taskId);
  }

  /**
   * Begins a session: everything known is reported anew, since the last session may have ended before it was told.
   *
   * @param onReady called when `next` may have a batch
   */
  begin(statuses: Iterable<TaskStatus>, onReady: () => void): void {
    this.#underWay = undefined;
    this.#number = 0;
    for (const status of statuses) this.#waiting.set(status.taskId, status);
    this.#onReady = onReady;
  }

  /** Ends the session: nothing is under way any more. */
  end(): void {
    this.#onReady = undefined;
    this.#underWay = undefined;
  }

  /** The next batch to send, or undefined while one is under way or nothing waits. */
  next(): StatusBatch | undefined {
    if (this.#underWay || this.#waiting.size === 0) return undefined;
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
    this.#underWay = undefined;
    if (this.#waiting.size > 0) this.#onReady?.();
  }

  #batch(): StatusBatch {
    const statuses = [...this.#waiting.values()].slice(0, BATCH_MAX);
    this.#underWay = { number: ++this.#number, statuses, containers: [] };
    return this.#underWay;
  }
}
