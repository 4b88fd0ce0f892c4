import type { AttachedClient, AttachOrder, TerminalSize } from './attachment.js';

// What can be done with a container while it is on this host, whoever made it: a task, or a person.

/** A process to be added to a container. What is empty is as the container has it. */
export interface ExecRequest {
  readonly args: readonly string[];
  /** NAME=value, over the container's own. */
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly privileged: boolean;
  readonly tty: boolean;
  /** Whether it has a stdin to write to, or the null device. */
  readonly stdin: boolean;
  /** Of its terminal, unless its start says another one. */
  readonly size?: TerminalSize | undefined;
  /** That let a client go from its terminal: kept for the manager that starts it. */
  readonly detachKeys?: string | undefined;
}

export interface ExecStatus {
  readonly id: string;
  readonly request: ExecRequest;
  /** `created` until it has been started; one whose start failed has `exited` with 126 or 127. */
  readonly state: 'created' | 'running' | 'exited';
  /** On the host; 0 unless it runs. */
  readonly pid: number;
  /** As Docker gives it; undefined until it has ended. */
  readonly exitCode: number | undefined;
}

/** A process added to a container. It outlives the agent, and so does its exit code. */
export interface Exec {
  readonly id: string;
  status(): ExecStatus;
  /**
   * Runs it, once; resolves when the command has been executed.
   *
   * @param streams undefined: detached, what it writes is thrown away
   * @throws StartError with Docker's code and words when the command cannot be executed
   * @throws ClusterError `conflict` when it was started before, or the container does not run or is paused
   */
  start(
    streams: { readonly stdout: boolean; readonly stderr: boolean } | undefined,
    size?: TerminalSize,
  ): Promise<AttachedClient | undefined>;
  /** @throws ClusterError `failedPrecondition` when it has no terminal or does not run */
  resize(size: TerminalSize): Promise<void>;
  /** One that has ended is fine. */
  signal(number: number): Promise<void>;
  /** Resolves with its exit code, also when it ended while no agent was there. */
  wait(signal: AbortSignal): Promise<number>;
}

/** A process as `ps -ef` shows it, its ids the host's. */
export interface ProcessEntry {
  readonly uid: number;
  readonly pid: number;
  readonly parentPid: number;
  /** Of the time since it was started. */
  readonly cpuPercent: number;
  readonly startedAtMs: number;
  /** `pts/0`, or `?`. */
  readonly terminal: string;
  readonly cpuSeconds: number;
  readonly command: string;
  /** Of the program alone, as the kernel cuts it. */
  readonly name: string;
  /** As ps(1) writes it: `Ss+`. */
  readonly state: string;
  readonly virtualBytes: number;
  readonly residentBytes: number;
}

export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

export interface BlockIo {
  readonly major: number;
  readonly minor: number;
  readonly op: 'read' | 'write';
  readonly bytes: number;
  readonly operations: number;
}

/** What a container has used so far. */
export interface ContainerStats {
  readonly atMs: number;
  readonly cpu: {
    readonly totalNs: number;
    readonly userNs: number;
    readonly systemNs: number;
    /** Of the whole host since its boot, all processors together: what a share is counted from. */
    readonly hostNs: number;
    readonly processors: number;
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttledNs: number;
  };
  readonly memory: {
    readonly usageBytes: number;
    /** The host's memory where it has no limit of its own. */
    readonly limitBytes: number;
    readonly maxUsageBytes: number;
    readonly failures: number;
    /** `memory.stat` as the kernel has it; the names differ between cgroup versions. */
    readonly details: Readonly<Record<string, number>>;
  };
  readonly pids: { readonly current: number; readonly limit: number | undefined };
  readonly blockIo: readonly BlockIo[];
  /** Of its own network namespace, without the loopback. */
  readonly networks: readonly InterfaceCounters[];
}

/** What can be asked of a container beside its life. */
export interface LiveContainer {
  readonly id: string;
  /** @throws ClusterError `conflict`: it does not run; `failedPrecondition`: its shim is of an earlier version */
  attach(order: AttachOrder): Promise<AttachedClient>;
  /** Of its terminal. @throws ClusterError `failedPrecondition` when it has none, `conflict` when it does not run */
  resize(size: TerminalSize): Promise<void>;
  /** @throws ClusterError `conflict` when it does not run */
  top(): Promise<ProcessEntry[]>;
  /** @throws ClusterError `conflict` when it does not run */
  stats(): Promise<ContainerStats>;
  /**
   * @param id 64 hexadecimal digits; absent: a new one. The same id gives the same exec
   * @throws ClusterError `conflict` when the container does not run or is paused
   */
  createExec(request: ExecRequest, id?: string): Promise<Exec>;
  /** @throws ClusterError `notFound` */
  exec(id: string): Exec;
  execs(): readonly Exec[];
}
