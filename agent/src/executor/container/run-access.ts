import { ClusterError, notFound } from '@tessera/shared/errors';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { AttachedClient, AttachOrder, TerminalSize } from '../attachment.js';
import type { ContainerStats, Exec, ExecRequest, LiveContainer, ProcessEntry } from '../live-container.js';
import { attachAtStart, streamOptions } from './attached-streams.js';
import type { Container, ContainerHost } from './container.js';
import { ContainerOperations } from './container-operations.js';
import type { ContainerRecord } from './container-record.js';

/** What clients do with a container that runs many times: with the run under way, or the next one. */
export abstract class RunAccess implements LiveContainer {
  abstract readonly id: string;
  /** Those who wait for the next run. */
  readonly #nextRun = new Set<(run: Container | undefined) => void>();
  /** Of its terminal, as last asked for. */
  #size: TerminalSize | undefined;

  constructor(private readonly host: ContainerHost) {}

  protected abstract get record(): ContainerRecord | undefined;
  /** The run under way, or the last one. */
  protected abstract get run(): Container | undefined;

  /** @throws when there is no run; nothing of it is left then */
  protected abstract startRun(assignment: ContainerAssignment, signal: AbortSignal): Promise<void>;

  async start(assignment: ContainerAssignment, signal: AbortSignal): Promise<void> {
    try {
      await this.startRun(assignment, signal);
    } catch (error) {
      // However early it failed: who attached for this run does not wait for another, nor does the end of one of `--rm`.
      await this.tellNextRun(undefined);
      throw error;
    }
  }

  async attach(order: AttachOrder): Promise<AttachedClient> {
    const { run, record } = this;
    if (run?.life.kind === 'running') return this.#operations(run).attach(order);
    const next = new Promise<Container | undefined>((resolve) => this.#nextRun.add(resolve));
    return attachAtStart(next, order, streamOptions(record, order));
  }

  async resize(size: TerminalSize): Promise<void> {
    if (!this.record?.tty)
      throw new ClusterError('failedPrecondition', `container ${this.id} has no terminal`);
    this.#size = size;
    if (this.run?.life.kind === 'running') await this.#operations(this.run).resize(size);
  }

  async top(): Promise<ProcessEntry[]> {
    return this.#live().top();
  }

  async stats(): Promise<ContainerStats> {
    return this.#live().stats();
  }

  async createExec(request: ExecRequest, id?: string): Promise<Exec> {
    return this.#live().createExec(request, id);
  }

  exec(id: string): Exec {
    if (!this.run) throw notFound('exec', id);
    return this.run.execs.get(id);
  }

  execs(): readonly Exec[] {
    return this.run?.execs.list() ?? [];
  }

  /**
   * To be called before a run starts, and with undefined when there will be none.
   *
   * @param first what its terminal has unless somebody has asked for another size
   */
  protected async tellNextRun(run: Container | undefined, first?: TerminalSize): Promise<void> {
    const size = this.#size ?? (this.record?.tty ? first : undefined);
    if (size) run?.beforeGo(async (shim) => shim?.resize(size.rows, size.columns).catch(() => {}));
    for (const tell of this.#nextRun) tell(run);
    this.#nextRun.clear();
    // Those who were told have their turn.
    await Promise.resolve();
  }

  #operations(run: Container): ContainerOperations {
    return new ContainerOperations(run, this.host);
  }

  /** @throws ClusterError `conflict` when there has been no run yet */
  #live(): ContainerOperations {
    if (!this.run) throw new ClusterError('conflict', `container ${this.id} is not running`);
    return this.#operations(this.run);
  }
}
