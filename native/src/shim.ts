import { closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ClusterError } from '@tessera/shared/errors';
import koffi from 'koffi';
import {
  beginShim,
  connectShim,
  reapProcess,
  type ShimProcess,
  signalProcess,
  spawnShim,
} from './container-calls.js';
import { FrameSocket } from './frame-socket.js';
import { encodeFrame, FRAMES, type Frame, SHIM_PROTOCOL, SHIM_STATES, STAGES, type Stage } from './frames.js';
import { errnoName } from './library.js';

/** Why the command does not run. */
export interface ShimFailure {
  readonly stage: Stage;
  /** 0 where no system call failed. */
  readonly errno: number;
  /** A path, a name, or what was being done. */
  readonly detail: string;
}

/** What became of the start. */
export type ShimOutcome =
  | { readonly kind: 'started'; readonly atMs: number }
  | { readonly kind: 'failed'; readonly failure: ShimFailure }
  | { readonly kind: 'lost' };

export interface ShimExit {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly atMs: number;
}

export interface ShimState {
  readonly state: 'created' | 'running' | 'exited';
  /** Of the container's first process. */
  readonly pid: number;
}

interface Answer {
  resolve(frame: Frame): void;
  reject(error: Error): void;
}

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
  readonly #socket: FrameSocket;
  readonly #answers = new Map<number, Answer>();
  #nextId = 1;
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
    this.#socket = new FrameSocket(
      socket,
      (frame) => (frame.id === 0 ? this.#event(frame) : this.#answer(frame)),
      () => this.#lose(),
    );
  }

  /** Starts a shim that waits for its container's spec. It ends with its agent, until it has one. */
  static async spawn(): Promise<Shim> {
    return new Shim(await spawnShim());
  }

  /** Hands over the spec: the shim makes the namespaces, and tells at once whether it could. */
  begin(spec: Buffer): void {
    this.#socket.handOver((fd) => beginShim(fd, spec));
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
    await this.#ask(FRAMES.GO);
  }

  /** @throws ClusterError `failedPrecondition` when the container has ended */
  async signal(number: number): Promise<void> {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(number);
    await this.#ask(FRAMES.SIGNAL, payload);
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
    this.#socket.close();
    closeSync(this.#pidfd);
  }

  async #subscribe(): Promise<{ state: ShimState; startTime: bigint }> {
    const { payload } = await this.#ask(FRAMES.SUBSCRIBE);
    const number = payload.readUInt32LE(0);
    const protocol = payload.readUInt32LE(16);
    if (protocol !== SHIM_PROTOCOL)
      throw new ClusterError('failedPrecondition', `the shim speaks version ${protocol} of its protocol`);
    const state =
      number === SHIM_STATES.CREATED ? 'created' : number === SHIM_STATES.RUNNING ? 'running' : 'exited';
    return { state: { state, pid: payload.readUInt32LE(4) }, startTime: payload.readBigUInt64LE(8) };
  }

  #ask(type: number, payload?: Uint8Array): Promise<Frame> {
    const id = this.#nextId;
    this.#nextId = id === 0xffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      if (this.#socket.isClosed) return reject(lost());
      this.#answers.set(id, { resolve, reject });
      this.#socket.send(encodeFrame(type, id, payload));
    });
  }

  #answer(frame: Frame): void {
    const answer = this.#answers.get(frame.id);
    this.#answers.delete(frame.id);
    if (frame.type !== FRAMES.ERROR) {
      answer?.resolve(frame);
      return;
    }
    const name = errnoName(frame.payload.readInt32LE(0));
    const kind =
      name === 'ENOSYS' ? 'unimplemented' : name === 'EINVAL' ? 'invalidArgument' : 'failedPrecondition';
    answer?.reject(new ClusterError(kind, `shim: ${frame.payload.toString('utf8', 4)}: ${name}`));
  }

  #event({ type, payload }: Frame): void {
    switch (type) {
      case FRAMES.CREATED:
        this.#settleCreated(payload.readUInt32LE(0));
        break;
      case FRAMES.STARTED:
        this.#settleOutcome({ kind: 'started', atMs: timeMs(payload, 0) });
        break;
      case FRAMES.FAILED:
        this.#settleOutcome({ kind: 'failed', failure: decodeFailure(payload) });
        this.#settleCreated(undefined);
        break;
      case FRAMES.EXITED:
        this.#settleExited({
          exitCode: payload.readUInt32LE(0),
          oomKilled: payload.readUInt32LE(4) !== 0,
          atMs: timeMs(payload, 8),
        });
        break;
    }
  }

  #lose(): void {
    for (const { reject } of this.#answers.values()) reject(lost());
    this.#answers.clear();
    this.#settleCreated(undefined);
    this.#settleOutcome({ kind: 'lost' });
    this.#settleExited(undefined);
  }
}

const lost = () => new ClusterError('unavailable', 'the connection to the shim has ended');

const timeMs = (payload: Buffer, at: number): number =>
  Number(payload.readBigInt64LE(at)) * 1000 + payload.readUInt32LE(at + 8) / 1e6;

const STAGE_NAMES = new Map(
  Object.entries(STAGES).map(([name, number]) => [number as number, name as Stage]),
);

const decodeFailure = (payload: Buffer): ShimFailure => ({
  stage: STAGE_NAMES.get(payload.readUInt32LE(0)) ?? 'SHIM',
  errno: payload.readInt32LE(4),
  detail: payload.toString('utf8', 8),
});

/** Field 22 of /proc/PID/stat, in ticks since the boot: with the pid it names a process for good. */
async function startTimeOf(pid: number): Promise<bigint | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return field === undefined ? undefined : BigInt(field);
}
