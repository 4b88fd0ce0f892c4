import type { Clock } from '@tessera/shared/env';
import type { ContainerStatus, Task } from '@tessera/shared/model';
import type { ContainerRuntime } from '../../containers/runtime.js';
import { FakeRuntime, type FakeRuntimeContainer } from '../../containers/testing/fake-runtime.js';
import { Condition } from '../../task/condition.js';
import type { Controller, Executor, ExitStatus } from '../executor.js';

/** A container as the fake host has it. It outlives the executor that made it, as a real one does. */
export interface FakeContainer {
  readonly taskId: string;
  state: 'prepared' | 'running' | 'exited';
  exit: ExitStatus | undefined;
  startedAtMs: number;
  pid: number;
}

/** How the commands of a fake host behave; every part may be left out. */
export interface FakeBehaviour {
  /** Awaited by `prepare`; what it throws, `prepare` rejects with. */
  readonly prepare?: (task: Task, signal: AbortSignal) => Promise<void>;
  readonly start?: (task: Task, signal: AbortSignal) => Promise<void>;
  readonly ready?: (task: Task, signal: AbortSignal) => Promise<void>;
  /** Exit code on the stop signal. Default 143 (128 + SIGTERM). */
  readonly stopCode?: number;
}

/** What lives on when an agent dies: containers, and a change to wait for. */
export class FakeHost {
  readonly containers = new Map<string, FakeContainer>();
  readonly changed = new Condition();
  /** Containers that are no task's. */
  readonly standalone: FakeRuntime;
  #nextPid = 1000;

  constructor(
    readonly clock: Clock,
    readonly behaviour: FakeBehaviour = {},
  ) {
    this.standalone = new FakeRuntime(clock);
  }

  newPid(): number {
    return this.#nextPid++;
  }

  /** Ends a container from outside, as its own program would. */
  exit(taskId: string, exitCode: number, more: Partial<ExitStatus> = {}): void {
    const container = this.containers.get(taskId);
    if (container?.state !== 'running') throw new Error(`container of ${taskId} does not run`);
    container.state = 'exited';
    container.exit = { exitCode, oomKilled: false, finishedAtMs: this.clock.now(), ...more };
    this.changed.notify();
  }

  /** Ids of tasks whose containers run. */
  running(): string[] {
    return [...this.containers.values()].filter((c) => c.state === 'running').map((c) => c.taskId);
  }
}

/** An executor over a `FakeHost`. Several may follow each other on one host: the agent's restarts. */
export class FakeExecutor implements Executor, ContainerRuntime {
  recovered: ReadonlySet<string> | undefined;

  constructor(readonly host: FakeHost) {}

  get bootId(): string {
    return this.host.standalone.bootId;
  }

  container(id: string): FakeRuntimeContainer {
    return this.host.standalone.container(id);
  }

  controller(task: Task): Controller {
    return new FakeController(task, this.host);
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    this.recovered = known;
    for (const taskId of this.host.containers.keys())
      if (!known.has(taskId)) this.host.containers.delete(taskId);
    this.host.changed.notify();
  }
}

class FakeController implements Controller {
  constructor(
    private readonly task: Task,
    private readonly host: FakeHost,
  ) {}

  get #container(): FakeContainer | undefined {
    return this.host.containers.get(this.task.id);
  }

  async prepare(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.host.behaviour.prepare?.(this.task, signal);
    signal.throwIfAborted();
    if (this.#container) return;
    this.host.containers.set(this.task.id, {
      taskId: this.task.id,
      state: 'prepared',
      exit: undefined,
      startedAtMs: 0,
      pid: 0,
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#container) await this.prepare(signal);
    await this.host.behaviour.start?.(this.task, signal);
    signal.throwIfAborted();
    const container = this.#container;
    if (container?.state !== 'prepared') return;
    container.state = 'running';
    container.startedAtMs = this.host.clock.now();
    container.pid = this.host.newPid();
    this.host.changed.notify();
  }

  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.host.behaviour.ready?.(this.task, signal);
  }

  async wait(signal: AbortSignal): Promise<ExitStatus> {
    // A container that is gone without a trace has no exit to tell: Docker's 137 and a reason.
    await this.host.changed.until(() => this.#container?.state !== 'running', signal);
    return (
      this.#container?.exit ?? {
        exitCode: 137,
        oomKilled: false,
        error: 'shim lost',
        finishedAtMs: this.host.clock.now(),
      }
    );
  }

  async shutdown(signal: AbortSignal): Promise<ExitStatus | undefined> {
    signal.throwIfAborted();
    if (this.#container?.state === 'running')
      this.host.exit(this.task.id, this.host.behaviour.stopCode ?? 143);
    return this.#container?.exit;
  }

  async remove(): Promise<void> {
    this.host.containers.delete(this.task.id);
    this.host.changed.notify();
  }

  status(): ContainerStatus | undefined {
    const container = this.#container;
    if (!container) return undefined;
    return {
      containerId: `container-${this.task.id}`,
      pid: container.state === 'running' ? container.pid : 0,
      exitCode: container.exit?.exitCode ?? 0,
      oomKilled: container.exit?.oomKilled ?? false,
      startedAtMs: container.startedAtMs,
      finishedAtMs: container.exit?.finishedAtMs ?? 0,
    };
  }
}
