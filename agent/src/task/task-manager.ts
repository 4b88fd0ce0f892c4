import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { isTerminal, type Task, type TaskStatus } from '@tessera/shared/model';
import type { Controller } from '../executor/executor.js';
import { advance, nextStep } from './advance.js';
import { Condition } from './condition.js';

/** How long a step that failed for now waits before it is tried again; doubles up to the second. */
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 15_000;

export interface TaskManagerOptions {
  readonly controller: Controller;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Resolves when nothing keeps the task from starting: its time, its predecessors, its networks. */
  readonly mayStart: (task: Task, signal: AbortSignal) => Promise<void>;
  /** Runs the start itself, in turn with other tasks' starts. */
  readonly inTurn: <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>;
  /** Called on every change, with what is to be stored and reported. */
  readonly onStatus: (status: TaskStatus) => void;
}

/**
 * Takes one task through its life: one step at a time, from where it is towards where it is wanted.
 *
 * A change of what is wanted aborts the step under way if another one is due now.
 */
export class TaskManager {
  readonly #changed = new Condition();
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  readonly #controller: Controller;
  #task: Task;
  #status: TaskStatus;
  #abortWork: AbortController | undefined;

  constructor(
    task: Task,
    status: TaskStatus,
    private readonly options: TaskManagerOptions,
  ) {
    this.#task = task;
    this.#status = status;
    this.#controller = startingInTurn(options);
    this.#finished = this.#run();
  }

  get task(): Task {
    return this.#task;
  }

  get status(): TaskStatus {
    return this.#status;
  }

  /** Takes the manager's latest word on the task. Desired states only go forward. */
  update(task: Task): void {
    const before = nextStep(this.#status.state, this.#task.desiredState);
    this.#task = task;
    if (nextStep(this.#status.state, task.desiredState) !== before) this.#abortWork?.abort(abortReason());
    this.#changed.notify();
  }

  /** Ends the task if need be, and takes away everything it has on this host. Tries until it is done. */
  async remove(signal: AbortSignal): Promise<void> {
    this.update({ ...this.#task, desiredState: 'remove' });
    await this.#changed.until(() => isTerminal(this.#status.state), signal);
    await this.close();
    for (let retryMs = RETRY_MIN_MS; ; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
      try {
        return await this.options.controller.remove();
      } catch (error) {
        this.options.logger.warn({ error }, 'task could not be removed; trying again');
        await delay(this.options.clock, retryMs, signal);
      }
    }
  }

  /** Leaves the task as it is, for the next agent: what runs goes on running. */
  async close(): Promise<void> {
    this.#closing.abort(abortReason());
    this.#abortWork?.abort(abortReason());
    await this.#finished;
  }

  async #run(): Promise<void> {
    const closing = this.#closing.signal;
    let retryMs = RETRY_MIN_MS;
    while (!closing.aborted && !isTerminal(this.#status.state)) {
      const work = new AbortController();
      this.#abortWork = work;
      try {
        const retry = await this.#step(work.signal);
        if (retry) await delay(this.options.clock, retryMs, work.signal);
        retryMs = retry ? Math.min(retryMs * 2, RETRY_MAX_MS) : RETRY_MIN_MS;
      } catch (error) {
        if (!work.signal.aborted) throw error;
      }
    }
  }

  /** One step. True when it failed for now and is due again. */
  async #step(signal: AbortSignal): Promise<boolean> {
    const { mayStart } = this.options;
    const { state } = this.#status;
    const step = nextStep(state, this.#task.desiredState);
    if (!step) {
      const known = this.#task;
      await this.#changed.until(() => this.#task !== known, signal);
      return false;
    }

    const starts = step.to === 'starting' || step.to === 'running';
    if (starts) await mayStart(this.#task, signal);
    const { status, retry } = await advance(this.#status, this.#task.desiredState, this.#controller, signal);
    this.#set(status);
    return retry;
  }

  #set(status: TaskStatus): void {
    const before = this.#status;
    if (status.state === before.state && status.error === before.error) return;
    const atMs = this.options.clock.now();
    this.#status = { ...status, atMs, container: finishedAt(status, atMs) };
    this.options.logger.info(
      { from: before.state, to: status.state, ...(status.error && { reason: status.error }) },
      `task ${before.state} → ${status.state}`,
    );
    this.options.onStatus(this.#status);
    this.#changed.notify();
  }
}

/** A command that could not be executed has no exit of its own: it ended when we learned of it. */
function finishedAt({ state, container }: TaskStatus, atMs: number): TaskStatus['container'] {
  if (!container || !isTerminal(state) || container.finishedAtMs > 0 || container.startedAtMs > 0)
    return container;
  return { ...container, finishedAtMs: atMs };
}

/** The start alone has to wait for its turn: how long it then takes to be ready is the container's own affair. */
const startingInTurn = ({ controller, inTurn }: TaskManagerOptions): Controller => ({
  prepare: (signal) => controller.prepare(signal),
  start: (signal) => inTurn(() => controller.start(signal), signal),
  ready: (signal) => controller.ready(signal),
  wait: (signal) => controller.wait(signal),
  shutdown: (signal) => controller.shutdown(signal),
  remove: () => controller.remove(),
  status: () => controller.status(),
});

function abortReason(): DOMException {
  return new DOMException('another step is due', 'AbortError');
}
