import type { Clock, Random } from '@tessera/shared/env';
import { isBefore, isTerminal, type Task, type TaskState, TaskStatus } from '@tessera/shared/model';
import type { Containers } from './containers.js';

/** What a service's tasks do once they run; a label of the service says so. */
export const BEHAVIOUR_LABEL = 'sim.behaviour';
export type Behaviour = 'steady' | 'flaky' | 'crash' | 'reject' | 'job' | 'stubborn';

export interface SimTaskOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly containers: Containers;
  /** Whether every one of these tasks, as far as this host has them, runs no more. */
  readonly haveStopped: (taskIds: readonly string[]) => boolean;
  readonly onStatus: (status: TaskStatus) => void;
}

/** The model of one task on an agent: it moves on in its own time, and does what its desired state says. */
export class SimTask {
  status: TaskStatus;
  #task: Task;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(
    task: Task,
    private readonly options: SimTaskOptions,
    status?: TaskStatus,
  ) {
    this.#task = task;
    this.status = status ?? statusOf(task, 'assigned', options.clock.now());
    this.#next();
  }

  get task(): Task {
    return this.#task;
  }

  get isOver(): boolean {
    return isTerminal(this.status.state);
  }

  update(task: Task): void {
    const before = this.#task;
    this.#task = task;
    if (before.desiredState !== task.desiredState) this.#next();
  }

  /** Something that it may have waited for has happened. */
  poke(): void {
    if (this.status.state === 'ready') this.#next();
  }

  /** The host has lost its power, or the task is taken away: whatever ran does not run any more. */
  destroy(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.options.containers.stop(this.#task.id);
  }

  #next(): void {
    this.#cancel?.();
    if (this.#stopped || this.isOver) return;
    if (!isBefore(this.#task.desiredState, 'shutdown')) {
      const isUp = this.options.containers.isRunning(this.#task.id);
      this.#later(isUp ? this.#between(10, this.#behaviour === 'stubborn' ? 10_000 : 2_000) : 5, () =>
        this.#end('shutdown', 0),
      );
      return;
    }
    switch (this.status.state) {
      case 'assigned':
        this.#move('accepted', this.#between(1, 20));
        break;
      case 'accepted':
        this.#move('preparing', 1);
        break;
      case 'preparing':
        if (this.#behaviour === 'reject') this.#later(this.#between(10, 500), () => this.#end('rejected', 0));
        else this.#move('ready', this.#between(5, 1_500));
        break;
      case 'ready':
        this.#startWhenDue();
        break;
      case 'starting':
        this.#later(this.#between(5, 100), () => this.#run());
        break;
      case 'running':
        this.#live();
        break;
    }
  }

  #startWhenDue(): void {
    const { desiredState, startNotBeforeMs, supersedes } = this.#task;
    if (isBefore(desiredState, 'running') || !this.options.haveStopped(supersedes)) return;
    this.#move('starting', Math.max(1, startNotBeforeMs - this.options.clock.now()));
  }

  #run(): void {
    const startedAtMs = this.options.clock.now();
    this.options.containers.start({ task: this.#task, nodeId: this.#task.nodeId, startedAtMs });
    this.#set({ ...this.#statusAs('running'), container: container(this.#task, startedAtMs) });
    this.#live();
  }

  #live(): void {
    switch (this.#behaviour) {
      case 'crash':
        this.#later(this.#between(50, 3_000), () => this.#end('failed', 1));
        break;
      case 'flaky':
        if (this.options.random.next() < 0.2)
          this.#later(this.#between(1_000, 90_000), () => this.#end('failed', 137));
        break;
      case 'job':
        this.#later(this.#between(2_000, 20_000), () => this.#end('complete', 0));
        break;
    }
  }

  #end(state: TaskState, exitCode: number): void {
    this.options.containers.stop(this.#task.id);
    const finishedAtMs = this.options.clock.now();
    const { container } = this.status;
    this.#set({
      ...this.#statusAs(state),
      container: container && { ...container, pid: 0, exitCode, finishedAtMs },
    });
  }

  #move(state: TaskState, delayMs: number): void {
    this.#later(delayMs, () => {
      this.#set(this.#statusAs(state));
      this.#next();
    });
  }

  #later(delayMs: number, act: () => void): void {
    this.#cancel?.();
    this.#cancel = this.options.clock.after(delayMs, () => {
      if (!this.#stopped) act();
    });
  }

  #set(status: TaskStatus): void {
    this.status = status;
    this.options.onStatus(status);
  }

  #statusAs(state: TaskState): TaskStatus {
    return { ...this.status, state, message: state, atMs: this.options.clock.now() };
  }

  #between(low: number, high: number): number {
    // Mostly quick, now and then slow: as on real hosts.
    return low + (high - low) * this.options.random.next() ** 3;
  }

  get #behaviour(): Behaviour {
    return (this.#task.serviceLabels[BEHAVIOUR_LABEL] as Behaviour | undefined) ?? 'steady';
  }
}

/** What an agent says of a task that was found dead after its host came back. */
export function foundDead(status: TaskStatus, nowMs: number): TaskStatus {
  if (isTerminal(status.state)) return status;
  const neverRan = isBefore(status.state, 'starting');
  if (neverRan) return status;
  return {
    ...status,
    state: 'failed',
    message: 'the host was restarted',
    atMs: nowMs,
    container: status.container && { ...status.container, pid: 0, exitCode: 255, finishedAtMs: nowMs },
  };
}

function statusOf(task: Task, state: TaskState, atMs: number): TaskStatus {
  return TaskStatus.fromPartial({ taskId: task.id, nodeId: task.nodeId, state, message: state, atMs });
}

const container = (task: Task, startedAtMs: number) => ({
  containerId: `c-${task.id}`,
  pid: 1_000,
  exitCode: 0,
  oomKilled: false,
  startedAtMs,
  finishedAtMs: 0,
});
