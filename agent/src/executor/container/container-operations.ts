import { ClusterError } from '@tessera/shared/errors';
import type { AttachedClient, AttachOrder, TerminalSize } from '../attachment.js';
import type { ContainerStats, Exec, ExecRequest, LiveContainer, ProcessEntry } from '../live-container.js';
import { connect, ProcessStreams, streamOptions } from './attached-streams.js';
import type { Container, ContainerHost } from './container.js';
import { containerStats } from './container-stats.js';
import { listProcesses } from './process-list.js';

/** What can be asked of one run of a container. */
export class ContainerOperations implements LiveContainer {
  constructor(
    private readonly container: Container,
    private readonly host: ContainerHost,
  ) {}

  get id(): string {
    return this.container.id;
  }

  async attach(order: AttachOrder): Promise<AttachedClient> {
    this.container.runningShim('attach');
    const connected = await connect(this.container, order);
    return new ProcessStreams(Promise.resolve(connected), streamOptions(this.container.record, order));
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    if (!this.container.record.tty)
      throw new ClusterError('failedPrecondition', `container ${this.id} has no terminal`);
    await this.container.runningShim('resize').resize(rows, columns);
  }

  async top(): Promise<ProcessEntry[]> {
    this.#pid();
    return listProcesses(await this.host.cgroups.processes(this.id), this.host.clock.now());
  }

  async stats(): Promise<ContainerStats> {
    const pid = this.#pid();
    return containerStats(await this.host.cgroups.stats(this.id), pid, this.host.clock.now());
  }

  async createExec(request: ExecRequest, id?: string): Promise<Exec> {
    this.container.runningShim('exec');
    await this.container.refusePaused('exec');
    return this.container.execs.create(request, id);
  }

  exec(id: string): Exec {
    return this.container.execs.get(id);
  }

  execs(): readonly Exec[] {
    return this.container.execs.list();
  }

  #pid(): number {
    const { life } = this.container;
    if (life.kind === 'running') return life.pid;
    throw new ClusterError('conflict', `container ${this.id} is not running`);
  }
}
