import { Attachment, type Shim } from '@tessera/native';
import { ClusterError, invalid, notFound } from '@tessera/shared/errors';
import type { AttachedClient, TerminalSize } from '../attachment.js';
import type { Exec, ExecRequest, ExecStatus } from '../live-container.js';
import { abortable } from './abortable.js';
import { ProcessStreams } from './attached-streams.js';
import { listExecs, readExec, readExecRequest, removeExec, writeExecRequest } from './container-record.js';
import { execSpec } from './exec-spec.js';
import { startError } from './start-error.js';

/** Execs that are remembered after their end, for those who ask for their exit code. */
const REMEMBERED_MAX = 64;
/** What Docker says of an exec whose container has gone. */
const LOST_CODE = 137;

/** What an exec needs to know of its container. */
export interface ExecHost {
  readonly runDir: string;
  readonly hostCapabilities: bigint;
  /** Whether the kernel has AppArmor switched on. */
  readonly apparmor: boolean;
  newId(): string;
  /** @throws ClusterError `conflict` when execs cannot be started now */
  shim(): Promise<Shim>;
}

type Life =
  | { readonly kind: 'created' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly shim: Shim; readonly process: number; readonly pid: number }
  | { readonly kind: 'exited'; readonly exitCode: number };

/** The execs of one container. */
export class ContainerExecs {
  readonly #execs = new Map<string, ContainerExec>();

  constructor(private readonly host: ExecHost) {}

  /** The same id gives the same exec. */
  create(request: ExecRequest, id = this.host.newId()): Exec {
    const existing = this.#execs.get(id);
    if (existing) return existing;
    // Compiled now, so that what cannot be honoured is refused at once.
    const spec = execSpec(id, request, this.host);
    const exec = new ContainerExec(this.host, id, request, spec);
    this.#execs.set(id, exec);
    this.#forget();
    return exec;
  }

  get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (!exec) throw notFound('exec', id);
    return exec;
  }

  list(): readonly Exec[] {
    return [...this.#execs.values()];
  }

  /** Finds what an earlier agent started. The shim tells its ends from now on, so none is missed between. */
  async adopt(shim: Shim | undefined): Promise<void> {
    for (const id of await listExecs(this.host.runDir)) {
      const [request, record] = await Promise.all([
        readExecRequest(this.host.runDir, id),
        readExec(this.host.runDir, id),
      ]);
      if (!request || !record) {
        await removeExec(this.host.runDir, id); // it never ran
        continue;
      }
      const exec = new ContainerExec(this.host, id, request, undefined);
      exec.adopt(record, shim);
      this.#execs.set(id, exec);
    }
  }

  /** The container has ended: what was running has, too; what was not started never will be. */
  end(): void {
    for (const exec of this.#execs.values()) exec.end();
  }

  #forget(): void {
    for (const [id, exec] of this.#execs) {
      if (this.#execs.size <= REMEMBERED_MAX) return;
      if (exec.status().state === 'running') continue;
      this.#execs.delete(id);
      void removeExec(this.host.runDir, id).catch(() => {}); // goes with the container
    }
  }
}

class ContainerExec implements Exec {
  #life: Life = { kind: 'created' };
  #settleEnd!: (exitCode: number) => void;
  readonly #ended: Promise<number>;

  /** @param spec absent for one that an earlier agent has started */
  constructor(
    private readonly host: ExecHost,
    readonly id: string,
    private readonly request: ExecRequest,
    private readonly spec: Buffer | undefined,
  ) {
    this.#ended = new Promise((resolve) => {
      this.#settleEnd = resolve;
    });
  }

  status(): ExecStatus {
    const life = this.#life;
    return {
      id: this.id,
      request: this.request,
      state: life.kind === 'starting' ? 'created' : life.kind,
      pid: life.kind === 'running' ? life.pid : 0,
      exitCode: life.kind === 'exited' ? life.exitCode : undefined,
    };
  }

  async start(
    streams: { readonly stdout: boolean; readonly stderr: boolean } | undefined,
    size?: TerminalSize,
  ): Promise<AttachedClient | undefined> {
    if (this.#life.kind !== 'created' || !this.spec)
      throw new ClusterError('conflict', `exec command ${this.id} has already run`);
    this.#life = { kind: 'starting' };
    let attachment: Attachment | undefined;
    try {
      const shim = await this.host.shim();
      // Beside the start: it is read by the next agent alone.
      const written = writeExecRequest(this.host.runDir, this.id, this.request);
      const options = { stdout: streams?.stdout ?? false, stderr: streams?.stderr ?? false, wait: true };
      const [started] = await Promise.all([
        Attachment.exec(
          this.host.runDir,
          this.spec,
          options,
          this.request.tty ? (size ?? this.request.size) : undefined,
        ),
        written,
      ]);
      attachment = started.attachment;
      const outcome = await attachment.outcome;
      if (outcome.kind === 'lost')
        throw new ClusterError('unavailable', `the container of exec ${this.id} has ended`);
      if (outcome.kind === 'failed') throw startError(outcome.failure);
      this.#run(shim, started.process, outcome.pid);
    } catch (error) {
      attachment?.close();
      this.#fail(error);
      throw error;
    }
    if (!streams) {
      attachment.close();
      return undefined;
    }
    const connected = Promise.resolve({ attachment, position: { nextRecord: 0n } });
    return new ProcessStreams(connected, { ...streams, closesInput: true });
  }

  /** A command that cannot be executed has an exit code all the same; anything else may be tried again. */
  #fail(error: unknown): void {
    const exitCode = (error as { exitCode?: unknown }).exitCode;
    if (typeof exitCode === 'number') this.#exit(exitCode);
    else this.#life = { kind: 'created' };
  }

  adopt(
    record: { process: number; pid: number; exitCode: number | undefined },
    shim: Shim | undefined,
  ): void {
    if (record.exitCode !== undefined) this.#exit(record.exitCode);
    else if (shim) this.#run(shim, record.process, record.pid);
    else this.#exit(LOST_CODE);
  }

  #run(shim: Shim, process: number, pid: number): void {
    this.#life = { kind: 'running', shim, process, pid };
    void shim.execEnded(process).then(async (exit) => {
      // A shim that is lost may have written it down before.
      const code =
        exit?.exitCode ?? (await readExec(this.host.runDir, this.id).catch(() => undefined))?.exitCode;
      this.#exit(code ?? LOST_CODE);
    });
  }

  #exit(exitCode: number): void {
    if (this.#life.kind === 'exited') return;
    this.#life = { kind: 'exited', exitCode };
    this.#settleEnd(exitCode);
  }

  end(): void {
    if (this.#life.kind !== 'running') this.#exit(LOST_CODE);
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    if (!this.request.tty) throw invalid(`exec ${this.id} has no terminal`);
    if (this.#life.kind !== 'running')
      throw new ClusterError('failedPrecondition', `exec ${this.id} is not running`);
    await this.#life.shim.resize(rows, columns, this.#life.process);
  }

  async signal(number: number): Promise<void> {
    if (this.#life.kind === 'running')
      await this.#life.shim.signal(number, this.#life.process).catch(() => {});
  }

  wait(signal: AbortSignal): Promise<number> {
    return abortable(this.#ended, signal);
  }
}
