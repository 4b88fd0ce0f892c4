import type { Clock } from '@tessera/shared/env';
import { ClusterError, notFound } from '@tessera/shared/errors';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { AttachedClient, AttachOrder, OutputPiece, TerminalSize } from '../../executor/attachment.js';
import { type ExitStatus, StartError } from '../../executor/executor.js';
import type {
  ContainerStats,
  Exec,
  ExecRequest,
  ExecStatus,
  ProcessEntry,
} from '../../executor/live-container.js';
import { Condition } from '../../task/condition.js';
import type {
  ContainerLabels,
  ContainerLife,
  ContainerRuntime,
  RuntimeContainer,
  StopOrder,
} from '../runtime.js';

/** How the containers of a fake host behave; every part may be left out. What they throw, the call rejects with. */
export interface FakeContainerBehaviour {
  readonly create?: (assignment: ContainerAssignment, signal: AbortSignal) => Promise<void>;
  readonly start?: (id: string, signal: AbortSignal) => Promise<void>;
  /** Exit code on the stop signal, at once. Default 143 (128 + SIGTERM). Undefined: it ignores the signal. */
  readonly stopCode?: number | undefined;
  /** What it leaves out of any container's limits. */
  readonly warnings?: readonly string[];
}

/** Containers of a fake host. They outlive the agent that made them, as real ones do, and may outlive a boot. */
export class FakeRuntime implements ContainerRuntime {
  bootId = 'boot-1';
  behaviour: FakeContainerBehaviour = {};
  readonly changed = new Condition();
  readonly #containers = new Map<string, FakeRuntimeContainer>();
  #nextPid = 5000;

  constructor(readonly clock: Clock) {}

  container(id: string): FakeRuntimeContainer {
    const known = this.#containers.get(id) ?? new FakeRuntimeContainer(id, this);
    this.#containers.set(id, known);
    return known;
  }

  newPid(): number {
    return this.#nextPid++;
  }

  /** Ends what runs as a power cut does, and begins another boot. */
  reboot(): void {
    this.bootId += '+';
    for (const container of this.#containers.values())
      if (container.isUp) container.exit(255, { error: 'host was restarted' });
  }
}

export class FakeRuntimeContainer implements RuntimeContainer {
  life: ContainerLife = { kind: 'none' };
  readonly facts = { networks: [], ports: [] };
  labels: ContainerLabels | undefined;
  readonly stopSignal = 15;
  readonly clients = new Set<FakeClient>();
  readonly attachOrders: AttachOrder[] = [];
  readonly #execs = new Map<string, FakeExec>();
  readings = 0;
  /** What was asked of it, in order. */
  readonly calls: string[] = [];

  constructor(
    readonly id: string,
    private readonly runtime: FakeRuntime,
  ) {}

  get isUp(): boolean {
    return this.life.kind === 'running' || this.life.kind === 'paused';
  }

  /** Ends it from outside, as its own program would. */
  exit(exitCode: number, more: Partial<ExitStatus> = {}): void {
    if (this.life.kind !== 'running' && this.life.kind !== 'paused')
      throw new Error(`${this.id} does not run`);
    const { startedAtMs } = this.life;
    const finishedAtMs = this.runtime.clock.now();
    this.life = { kind: 'exited', exit: { exitCode, oomKilled: false, finishedAtMs, ...more }, startedAtMs };
    this.runtime.changed.notify();
  }

  async create(assignment: ContainerAssignment, signal: AbortSignal): Promise<void> {
    this.calls.push('create');
    await this.runtime.behaviour.create?.(assignment, signal);
    signal.throwIfAborted();
    if (this.life.kind === 'none') this.life = { kind: 'created' };
  }

  warnings(): readonly string[] {
    return this.runtime.behaviour.warnings ?? [];
  }

  async start(_: ContainerAssignment, signal: AbortSignal): Promise<void> {
    this.calls.push('start');
    if (this.isUp) return;
    this.life = { kind: 'created' };
    await this.runtime.behaviour.start?.(this.id, signal);
    signal.throwIfAborted();
    this.life = { kind: 'running', pid: this.runtime.newPid(), startedAtMs: this.runtime.clock.now() };
    this.runtime.changed.notify();
  }

  async stop({ signal, timeoutMs }: StopOrder, abort: AbortSignal): Promise<void> {
    this.calls.push(`stop ${signal} ${timeoutMs}`);
    const { behaviour } = this.runtime;
    const code = 'stopCode' in behaviour ? behaviour.stopCode : 143;
    if (code !== undefined && this.isUp) this.exit(code);
    await this.ended(abort);
  }

  async kill(signal: number): Promise<void> {
    this.calls.push(`kill ${signal}`);
    if (!this.isUp) throw new ClusterError('conflict', `container ${this.id} is not running`);
    this.exit(128 + signal);
  }

  async pause(): Promise<void> {
    if (this.life.kind === 'running') this.life = { ...this.life, kind: 'paused' };
  }

  async unpause(): Promise<void> {
    if (this.life.kind === 'paused') this.life = { ...this.life, kind: 'running' };
  }

  async update(): Promise<void> {
    this.calls.push('update');
  }

  async attach(order: AttachOrder): Promise<FakeClient> {
    this.attachOrders.push(order);
    const client = new FakeClient(this.clients);
    this.clients.add(client);
    return client;
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    this.calls.push(`resize ${rows}x${columns}`);
  }

  async top(): Promise<ProcessEntry[]> {
    if (!this.isUp) throw new ClusterError('conflict', `container ${this.id} is not running`);
    const { pid = 0, startedAtMs = 0 } = this.life.kind === 'running' ? this.life : {};
    const kernel = { name: 'sleep', state: 'Ss', virtualBytes: 0, residentBytes: 0 };
    const base = { ...kernel, parentPid: 1, uid: 0, cpuPercent: 0, terminal: '?', cpuSeconds: 0 };
    return [{ ...base, pid, startedAtMs, command: 'sleep 1d' }];
  }

  /** Each reading says how many there have been. */
  async stats(): Promise<ContainerStats> {
    if (!this.isUp) throw new ClusterError('conflict', `container ${this.id} is not running`);
    this.readings++;
    const none = { userNs: 0, systemNs: 0, hostNs: 0, processors: 1, periods: 0, throttledPeriods: 0 };
    return {
      atMs: this.runtime.clock.now(),
      cpu: { ...none, totalNs: this.readings, throttledNs: 0 },
      memory: { usageBytes: 0, limitBytes: 0, maxUsageBytes: 0, failures: 0, details: {} },
      pids: { current: 1, limit: undefined },
      blockIo: [],
      networks: [],
    };
  }

  async createExec(request: ExecRequest, id = `exec-${this.#execs.size}`): Promise<FakeExec> {
    if (!this.isUp) throw new ClusterError('conflict', `container ${this.id} is not running`);
    const exec = this.#execs.get(id) ?? new FakeExec(id, request, this.runtime);
    this.#execs.set(id, exec);
    return exec;
  }

  exec(id: string): FakeExec {
    const exec = this.#execs.get(id);
    if (!exec) throw notFound('exec', id);
    return exec;
  }

  useFiles(): Promise<never> {
    throw new ClusterError('unimplemented', 'a container of a fake host has no files');
  }

  whileFrozen<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  /** How often it was to be on the disk. */
  persists = 0;

  async persist(): Promise<void> {
    this.persists++;
  }

  async writtenBytes(): Promise<number> {
    return 4_096;
  }

  execs(): readonly FakeExec[] {
    return [...this.#execs.values()];
  }

  ended(signal: AbortSignal): Promise<void> {
    return this.runtime.changed.until(() => !this.isUp, signal);
  }

  async remove(): Promise<void> {
    this.calls.push('remove');
    this.life = { kind: 'none' };
    this.runtime.changed.notify();
  }
}

/** A process added to a fake container. */
export class FakeExec implements Exec {
  readonly clients = new Set<FakeClient>();
  size = '';
  #state: ExecStatus['state'] = 'created';
  #exitCode: number | undefined;

  constructor(
    readonly id: string,
    private readonly request: ExecRequest,
    private readonly runtime: FakeRuntime,
  ) {}

  status(): ExecStatus {
    return { id: this.id, request: this.request, state: this.#state, pid: 77, exitCode: this.#exitCode };
  }

  /** Ends it from outside, as its own program would. */
  exit(exitCode: number): void {
    this.#state = 'exited';
    this.#exitCode = exitCode;
    for (const client of this.clients) client.end();
    this.runtime.changed.notify();
  }

  /** A command named `nope` is nowhere to be found. */
  async start(streams: object | undefined): Promise<FakeClient | undefined> {
    if (this.request.args[0] === 'nope') {
      this.exit(127);
      throw new StartError(127, 'exec: "nope": executable file not found in $PATH');
    }
    this.#state = 'running';
    if (!streams) return undefined;
    const client = new FakeClient(this.clients);
    this.clients.add(client);
    return client;
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    this.size = `${rows}x${columns}`;
  }

  async signal(): Promise<void> {}

  async wait(signal: AbortSignal): Promise<number> {
    await this.runtime.changed.until(() => this.#exitCode !== undefined, signal);
    return this.#exitCode!;
  }
}

/** A client's hold on a fake container, whose output a test writes. */
export class FakeClient implements AttachedClient {
  input = '';
  isInputEnded = false;
  readonly #changed = new Condition();
  readonly #pieces: OutputPiece[] = [];
  #isOver = false;

  constructor(private readonly clients: Set<FakeClient>) {}

  output(text: string, stream: OutputPiece['stream'] = 'stdout'): void {
    this.#pieces.push({ stream, bytes: Buffer.from(text) });
    this.#changed.notify();
  }

  /** The run it is attached to has ended. */
  end(): void {
    this.#isOver = true;
    this.#changed.notify();
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.input += Buffer.from(bytes).toString();
  }

  async endInput(): Promise<void> {
    this.isInputEnded = true;
  }

  close(): void {
    this.clients.delete(this);
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputPiece> {
    const { signal } = new AbortController();
    for (;;) {
      await this.#changed.until(() => this.#pieces.length > 0 || this.#isOver, signal);
      const piece = this.#pieces.shift();
      if (!piece) return;
      yield piece;
    }
  }
}
