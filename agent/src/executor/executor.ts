import type { ContainerStatus, Task } from '@tessera/shared/model';

/** How a task's container ended. */
export interface ExitStatus {
  /** As Docker gives it: the code itself, or 128 + the signal's number. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Why, where the code does not say it: "shim lost", "host was restarted". */
  readonly error?: string;
  readonly finishedAtMs: number;
}

/** What a task's runtime can be asked to do. Each call may be repeated after a crash at any line. */
export interface Controller {
  /** Image here, root file system and spec made. Rejects for good when the task can never run here. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Resolves when the command itself has been executed; rejects with `StartError` when it cannot be. */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the container counts as running: at once, or once its health check says so, or when it has ended.
   * Rejects when it is found unhealthy, and stopped, before that.
   */
  ready(signal: AbortSignal): Promise<void>;
  /** Resolves when the container has ended, also when it ended while no agent was there. An unhealthy one is stopped. */
  wait(signal: AbortSignal): Promise<ExitStatus>;
  /** Stop signal, grace, SIGKILL. Resolves with how it ended; undefined when it never ran. */
  shutdown(signal: AbortSignal): Promise<ExitStatus | undefined>;
  /** Takes away everything on this host: container, network, cgroups, mounts, root file system, logs. */
  remove(): Promise<void>;
  /** Undefined until there is a container. */
  status(): ContainerStatus | undefined;
}

/** The command could not be executed. Docker's exit codes: 127 not found, 126 cannot be invoked, 125 ours. */
export class StartError extends Error {
  override readonly name = 'StartError';
  constructor(
    readonly exitCode: 125 | 126 | 127,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Makes controllers on this node. */
export interface Executor {
  /** For a new task, or for one whose container lives on from before the agent's start. */
  controller(task: Task): Controller;
  /**
   * Finds what an earlier agent left: adopts containers that run, records those that ended meanwhile, and
   * removes what belongs to no known task. Called once at start, before any controller is used.
   */
  recover(known: ReadonlySet<string>): Promise<void>;
}
