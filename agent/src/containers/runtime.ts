import type { FilesOf } from '@tessera/native';
import type { NetworkAttachment, PortBinding } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { AttachedClient, AttachOrder, TerminalSize } from '../executor/attachment.js';
import type { ExitStatus } from '../executor/executor.js';
import type { LiveContainer } from '../executor/live-container.js';
import type { LocalImage } from '../image/image-store.js';

/** What the runtime core knows of a container on this host, from what runs and what lies on the disk. */
export type ContainerLife =
  /** Nothing of it is here. */
  | { readonly kind: 'none' }
  /** Its directories are made, and no run of it has left a record. */
  | { readonly kind: 'created' }
  | { readonly kind: 'running' | 'paused'; readonly pid: number; readonly startedAtMs: number }
  /** How its last run ended. */
  | { readonly kind: 'exited'; readonly exit: ExitStatus; readonly startedAtMs: number };

/** What a container got on this host alone, while it runs. */
export interface LocalFacts {
  readonly networks: readonly NetworkAttachment[];
  readonly ports: readonly PortBinding[];
}

/** What SELinux confines a container by. */
export interface ContainerLabels {
  /** Of its commands; empty: none. */
  readonly process: string;
  /** Of what is mounted for it, and of its files. */
  readonly mount: string;
}

/** How to end a container. */
export interface StopOrder {
  /** By name or number; empty: its own. */
  readonly signal: string;
  /** Until SIGKILL; negative: its own. */
  readonly timeoutMs: number;
}

/** One container that is no task's: made once, started any number of times. Each call may be repeated after a crash. */
export interface RuntimeContainer
  extends Pick<LiveContainer, 'createExec' | 'exec' | 'execs' | 'top' | 'stats'> {
  readonly life: ContainerLife;
  readonly facts: LocalFacts;
  /** From its creation on; undefined on a host without SELinux. */
  readonly labels: ContainerLabels | undefined;
  /** The number of the signal that is to end it; 0 until it has been created. */
  readonly stopSignal: number;
  /**
   * Image, directories, and a look at whether everything asked for can be honoured.
   * @throws ClusterError naming the field that cannot
   */
  create(assignment: ContainerAssignment, signal: AbortSignal): Promise<void>;
  /**
   * A new run over the files of the last one. Resolves when the command itself has been executed.
   * @throws StartError when it cannot be
   */
  start(assignment: ContainerAssignment, signal: AbortSignal): Promise<void>;
  /** Stop signal, grace, SIGKILL; resolves when it has ended. */
  stop(order: StopOrder, signal: AbortSignal): Promise<void>;
  /** @throws ClusterError `conflict` when it does not run */
  kill(signal: number): Promise<void>;
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** What of the limits this host leaves out, in Docker's words. */
  warnings(assignment: ContainerAssignment): readonly string[];
  /** Applies changed limits to what runs. */
  update(assignment: ContainerAssignment): Promise<void>;
  /** Resolves when it does not run, however that came. */
  ended(signal: AbortSignal): Promise<void>;
  /**
   * Resolves when nothing that it writes from now on can be missed: for one that does not run, what its next run
   * writes, from the first byte on.
   */
  attach(order: AttachOrder): Promise<AttachedClient>;
  /** Of its terminal; kept for the next run. @throws ClusterError `failedPrecondition` when it has none */
  resize(size: TerminalSize): Promise<void>;
  /**
   * Works on its files, whether it runs, has ended or was never started. A start waits until `work` has done; a removal
   * ends it by the signal it is given.
   */
  useFiles<T>(
    assignment: ContainerAssignment,
    work: (files: FilesOf, image: LocalImage, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;
  /** Does something while none of its processes moves. */
  whileFrozen<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** What this host remembers of it is on the disk once this resolves: a power cut leaves it to be started again. */
  persist(): Promise<void>;
  /** Bytes of the files in its own layer. */
  writtenBytes(signal: AbortSignal): Promise<number>;
  /** Takes everything of it off this host, running or not. */
  remove(): Promise<void>;
}

/** Makes and finds containers on this host. */
export interface ContainerRuntime {
  readonly bootId: string;
  /** The one container of this id; after the executor's recovery with what an earlier agent left of it. */
  container(id: string): RuntimeContainer;
}
