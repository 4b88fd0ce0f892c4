import { closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ClusterError } from '@tessera/shared/errors';
import koffi from 'koffi';
import { resizePayload } from './attachment.js';
import {
  beginShim,
  connectShim,
  reapProcess,
  type ShimProcess,
  signalProcess,
  spawnShim,
} from './container-calls.js';
import { FRAMES, type Frame, SHIM_PROTOCOL, SHIM_STATES } from './frames.js';
import { ShimConnection } from './shim-connection.js';
import {
  decodeExecExit,
  decodeExit,
  decodeFailure,
  type ExecExit,
  type ShimExit,
  type ShimFailure,
  timeMs,
} from './shim-events.js';

/** What became of the start. */
export type ShimOutcome =
  /** The pid of the command's process, where its shim tells it. */
  | { readonly kind: 'started'; readonly atMs: number; readonly pid: number | undefined }
  | { readonly kind: 'failed'; readonly failure: ShimFailure }
  | { readonly kind: 'lost' };

export interface ShimState {
  readonly state: 'created' | 'running' | 'exited';
  /** Of the container's first process. */
  readonly pid: number;
}

/** Ends of execs that nobody has asked for yet; past it the oldest are forgotten, their records being there. */
const EXEC_EXITS_MAX = 256;

/**
 * The agent's hold on one container's shim: its socket and its pidfd.
 *
 * `created`, `outcome` and `exited` settle once, whatever comes first: the event, or the loss of the shim.
 */
export class Shim {
  /** Pid of the container's waiting process; undefined when the shim failed before there was one. */
  readonly created: Promise<number | undefined>;
  readonly outcome: Promise<ShimOutcome>;
  /** Undefined: the connection ended without word of the container's end. */
  readonly exited: Promise<ShimExit | undefined>;
  readonly #connection: ShimConnection;
  /** What it speaks; undefined until it has said so, which one that we started need not. */
  #protocol: number | undefined;
  /** By process number: those that ended, and who waits for the others. */
  readonly #execExits = new Map<number, ExecExit>();
  readonly #execWaiters = new Map<number, (exit: ExecExit | undefined) => void>();
  #settleCreated!: (pid: number | undefined) => void;
  #settleOutcome!: (outcome: ShimOutcome) => void;
  #settleExited!: (exit: ShimExit | undefined) => void;

  readonly #pidfd: number;
  /** Of the shim. */
  readonly pid: number;
  #ended: Promise<void> | undefined;

  private constructor({ pid, socket, pidfd }: ShimProcess) {
    this.pid = pid;
    this.#pidfd = pidfd;
    this.created = new Promise((resolve) => {
      this.#settleCreated = resolve;
    });
    this.outcome = new Promise((resolve) => {
      this.#settleOutcome = resolve;
    });
    this.exited = new Promise((resolve) => {
      this.#settleExited = resolve;
    });
    this.#connection = new ShimConnection(
      socket,
      (frame) => this.#event(frame),
      () => this.#lose(),
    );
  }

  /** Starts a shim that waits for its container's spec. It ends with its agent, until it has one. */
  static async spawn(): Promise<Shim> {
    return new Shim(await spawnShim());
  }

  /** Hands over the spec: the shim makes the namespaces, and tells at once whether it could. */
  begin(spec: Buffer): void {
    this.#connection.handOver((fd) => beginShim(fd, spec));
  }

  /**
   * Finds the shim that an earlier agent started, and makes sure that the pidfd is its own.
   *
   * @param patience aborted when a shim that does not answer is to be given up: it is then killed
   * @throws ClusterError `notFound` or another kind when no shim answers in `runDir`
   */
  static async connect(
    runDir: string,
    patience: AbortSignal,
  ): Promise<{ readonly shim: Shim; readonly state: ShimState }> {
    const shim = new Shim(connectShim(runDir));
    const giveUp = () => shim.kill();
    patience.addEventListener('abort', giveUp, { once: true });
    try {
      const { state, startTime } = await shim.#subscribe();
      // An answer after the opening of the pidfd shows that the pid was not reused before it.
      if ((await startTimeOf(shim.pid)) !== startTime)
        throw new ClusterError('notFound', `process ${shim.pid} is not the shim`);
      return { shim, state };
    } catch (error) {
      shim.release();
      throw error;
    } finally {
      patience.removeEventListener('abort', giveUp);
    }
  }

  /** The namespaces are ready: run the command. */
  async go(): Promise<void> {
    await this.#connection.ask(FRAMES.GO);
  }

  /** Resolves when the shim listens on its socket, which it does soon after `created`. */
  async listening(): Promise<void> {
    await this.#connection.ask(FRAMES.STATUS);
  }

  /**
   * @param process 0: the container's own; else an exec's number
   * @throws ClusterError `failedPrecondition` when it has ended
   */
  async signal(number: number, process = 0): Promise<void> {
    const payload = Buffer.alloc(process ? 8 : 4);
    payload.writeUInt32LE(number);
    if (process) payload.writeUInt32LE(process, 4);
    await this.#connection.ask(FRAMES.SIGNAL, payload);
  }

  /**
   * Sets the size of a process's terminal, also before it has been started.
   *
   * @throws ClusterError `failedPrecondition` when it has none, or has ended
   */
  async resize(rows: number, columns: number, process = 0): Promise<void> {
    await this.#connection.ask(FRAMES.RESIZE, resizePayload(process, rows, columns));
  }

  /**
   * How the exec of this number ends; undefined when the shim is lost first. Also for one that has just ended. To be
   * asked for once.
   */
  execEnded(process: number): Promise<ExecExit | undefined> {
    const exit = this.#execExits.get(process);
    this.#execExits.delete(process);
    if (exit || this.#connection.isClosed) return Promise.resolve(exit);
    return new Promise((resolve) => this.#execWaiters.set(process, resolve));
  }

  /**
   * A container that was started before its host's agent was brought up to date keeps the shim it has.
   *
   * @throws ClusterError `failedPrecondition` when that shim lacks what came with version 2: attach, exec, resize
   */
  require(what: string): void {
    if ((this.#protocol ?? SHIM_PROTOCOL) >= 2) return;
    throw new ClusterError(
      'failedPrecondition',
      `${what}: the container was started by an earlier version of this host's agent, which could not: restart the container`,
    );
  }

  /** Kills the shim itself: for one that has not been told to go, or does not answer. */
  kill(): void {
    signalProcess(this.#pidfd, 9);
  }

  /** Resolves once the shim's process is gone and its zombie taken. */
  ended(): Promise<void> {
    this.#ended ??= new Promise((resolve) => {
      const poll = koffi.node.poll(this.#pidfd, { readable: true }, () => {
        poll.stop();
        poll.close();
        reapProcess(this.#pidfd);
        resolve();
      });
    });
    return this.#ended;
  }

  /** Lets go of it; the shim lives on. Nothing else may be called afterwards. */
  release(): void {
    this.#connection.close();
    closeSync(this.#pidfd);
  }

  async #subscribe(): Promise<{ state: ShimState; startTime: bigint }> {
    const { payload } = await this.#connection.ask(FRAMES.SUBSCRIBE);
    const number = payload.readUInt32LE(0);
    const protocol = payload.readUInt32LE(16);
    if (protocol < 1 || protocol > SHIM_PROTOCOL)
      throw new ClusterError('failedPrecondition', `the shim speaks version ${protocol} of its protocol`);
    this.#protocol = protocol;
    const state =
      number === SHIM_STATES.CREATED ? 'created' : number === SHIM_STATES.RUNNING ? 'running' : 'exited';
    return { state: { state, pid: payload.readUInt32LE(4) }, startTime: payload.readBigUInt64LE(8) };
  }

  #event({ type, payload }: Frame): void {
    switch (type) {
      case FRAMES.CREATED:
        this.#settleCreated(payload.readUInt32LE(0));
        break;
      case FRAMES.STARTED:
        this.#settleOutcome({
          kind: 'started',
          atMs: timeMs(payload, 0),
          pid: payload.length >= 16 ? payload.readUInt32LE(12) : undefined,
        });
        break;
      case FRAMES.FAILED:
        this.#settleOutcome({ kind: 'failed', failure: decodeFailure(payload) });
        this.#settleCreated(undefined);
        break;
      case FRAMES.EXITED:
        this.#settleExited(decodeExit(payload));
        break;
      case FRAMES.EXEC_EXITED:
        this.#endExec(payload.readUInt32LE(0), decodeExecExit(payload));
        break;
    }
  }

  #endExec(process: number, exit: ExecExit): void {
    const waiter = this.#execWaiters.get(process);
    this.#execWaiters.delete(process);
    if (waiter) waiter(exit);
    else this.#execExits.set(process, exit);
    const oldest = this.#execExits.size > EXEC_EXITS_MAX ? this.#execExits.keys().next() : undefined;
    if (oldest && !oldest.done) this.#execExits.delete(oldest.value);
  }

  #lose(): void {
    for (const resolve of this.#execWaiters.values()) resolve(undefined);
    this.#execWaiters.clear();
    this.#settleCreated(undefined);
    this.#settleOutcome({ kind: 'lost' });
    this.#settleExited(undefined);
  }
}

/** Field 22 of /proc/PID/stat, in ticks since the boot: with the pid it names a process for good. */
async function startTimeOf(pid: number): Promise<bigint | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return field === undefined ? undefined : BigInt(field);
}
