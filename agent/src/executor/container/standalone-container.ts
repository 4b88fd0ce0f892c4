import type { FilesOf } from '@tessera/native';
import { delay } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { type Container as ContainerObject, NetworkAttachment, Task, TaskSpec } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { ContainerLife, LocalFacts, RuntimeContainer, StopOrder } from '../../containers/runtime.js';
import type { LocalImage } from '../../image/image-store.js';
import { writtenBytes } from '../../storage/index.js';
import { prepareVolumes, volumeNames } from '../../volumes/index.js';
import type { LiveContainer } from '../live-container.js';
import { abortable } from './abortable.js';
import { Container } from './container.js';
import { ContainerFiles } from './container-files.js';
import { partsOf } from './container-parts.js';
import {
  type ContainerRecord,
  forgetRun,
  readStart,
  type StartRecord,
  syncRecord,
  writeRecord,
  writeStart,
} from './container-record.js';
import { imageTree } from './container-spec.js';
import type { ExecutorParts } from './executor-parts.js';
import { Freezer } from './freezer.js';
import { assertJoinable, type Lender, lendingFailed, NO_LENDER } from './joined-containers.js';
import type { LogSource } from './logs/segment-task-logs.js';
import { checkSources, prepareSources } from './mount-sources.js';
import { type Namespaces, namespacesOf } from './namespaces.js';
import { RunAccess } from './run-access.js';
import { networkFilesOf, sandboxOfStart, wantedPorts, withoutHosts, writeHosts } from './run-network.js';
import { DEFAULT_STOP_GRACE_MS, parseSignal } from './signals.js';
import { LendingError } from './start-error.js';

/** IPC that others may join; joined itself, it is lent on. */
const LENT_IPC: readonly Namespaces['ipc'][] = ['shareable', 'joined', 'host'];
const NO_FACTS: LocalFacts = { networks: [], ports: [] };
const CREATED: ContainerLife = { kind: 'created' };
/** What Docker calls the network that every host has for itself. */
const BRIDGE = 'bridge';

/**
 * A container that is no task's, on this host: its files stay, and each run over them is a `Container` of its own,
 * started once.
 */
export class StandaloneContainer extends RunAccess implements RuntimeContainer, LiveContainer {
  #record: ContainerRecord | undefined;
  /** The run under way, or the last one. */
  #run: Container | undefined;
  #start: StartRecord | undefined;
  readonly #freezer: Freezer;
  readonly #files: ContainerFiles;

  constructor(
    readonly id: string,
    private readonly parts: ExecutorParts,
  ) {
    super(parts.host);
    const { cgroups } = parts.host;
    const running = () => this.#running();
    const runDir = parts.runDir(id);
    this.#freezer = new Freezer({ id, runDir, cgroups, isRunning: () => running() !== undefined });
    this.#files = new ContainerFiles({ id, cgroups, freezer: this.#freezer, running });
  }

  protected get record(): ContainerRecord | undefined {
    return this.#record;
  }

  protected get run(): Container | undefined {
    return this.#run;
  }

  get life(): ContainerLife {
    if (!this.#record) return { kind: 'none' };
    const life = this.#run?.life;
    switch (life?.kind) {
      case 'running':
        return {
          kind: this.#freezer.isPaused ? 'paused' : 'running',
          pid: life.pid,
          startedAtMs: Math.round(life.startedAtMs),
        };
      case 'ended':
        return { kind: 'exited', exit: life.status, startedAtMs: Math.round(life.startedAtMs) };
      default:
        return CREATED;
    }
  }

  get facts(): LocalFacts {
    if (!this.#start || !this.#running()) return NO_FACTS;
    const { ports, local } = this.#start;
    const networks =
      local.addr === ''
        ? []
        : [NetworkAttachment.create({ networkId: BRIDGE, addr: local.addr, mac: local.mac })];
    return { networks, ports };
  }

  /** Of the run under way, or the last one. */
  get startRecord(): StartRecord | undefined {
    return this.#start;
  }

  get labels(): RuntimeContainer['labels'] {
    return this.#record?.labels;
  }

  get stopSignal(): number {
    return this.#record?.stopSignal ?? 0;
  }

  /** Where its log lies. It grows while a run is under way. */
  get log(): LogSource | undefined {
    if (!this.#record) return undefined;
    const run = this.#run;
    // A run says itself when it has ended: whoever follows asks again.
    if (run && run.life.kind !== 'prepared') return run;
    return { dataDir: this.parts.dataDir(this.id), closed: Promise.resolve(), isClosed: true };
  }

  /** Takes up what an earlier agent left. Returns the run that is still under way, if there is one. */
  async adopt(record: ContainerRecord): Promise<Container | undefined> {
    const [dataDir, runDir] = this.#dirs();
    const start = await readStart(dataDir);
    this.#record = record;
    if (!start) {
      await this.parts.host.cgroups.kill(this.id);
      return undefined;
    }
    const run = new Container(this.parts.host, { ...record, bootId: start.bootId }, dataDir, runDir);
    await run.adopt();
    this.#run = run;
    this.#start = start;
    if (run.life.kind !== 'running') return undefined;
    await this.#freezer.adopt();
    this.#followEnd(run, start);
    return run;
  }

  async create(assignment: ContainerAssignment, signal: AbortSignal): Promise<void> {
    if (this.#record) return;
    const container = assignment.container!;
    const { spec, host } = partsOf(container);
    const namespaces = namespacesOf(host);
    const networkJoin = namespaces.joins.find(({ kind }) => kind === 'network');
    const networkLender = networkJoin && this.#lender(networkJoin.containerId);
    await checkSources(spec.mounts);
    const image = await this.parts.images.ensure(spec.imageDigest || spec.image, this.id, signal);
    try {
      const [dataDir, runDir] = this.#dirs();
      const record: ContainerRecord = {
        id: this.id,
        taskId: this.id,
        imageId: image.id,
        // With another container's network come its name, and its files.
        hostname: spec.hostname || networkLender?.hostname || this.id.slice(0, 12),
        bootId: this.parts.host.bootId,
        stopSignal: parseSignal(spec.stopSignal || image.config.stopSignal),
        stopGraceMs: spec.stopGraceMs < 0 ? DEFAULT_STOP_GRACE_MS : spec.stopGraceMs,
        attachments: assignment.placement?.networks ?? [],
        dnsServers: spec.dnsServers,
        standalone: true,
        volumes: volumeNames(spec.mounts),
        ownVolumes: [],
        tty: spec.tty,
        stdin: spec.openStdin ? (container.stdinOnce ? 'once' : 'open') : 'closed',
        lendsIpc: LENT_IPC.includes(namespaces.ipc),
        filesOf: networkLender?.filesOf ?? '',
        labels: this.parts.labels.assign(this.id, {
          asked: this.#settings(container).labels,
          privileged: spec.privileged,
          namespaces,
          labelOf: (id) => this.#lender(id).processLabel,
        }),
      };
      // What cannot be honoured is to be known now, not at the start.
      this.#compile(record, container, image);
      const { volumes } = this.parts;
      await prepareVolumes(volumes, this.id, spec.mounts, assignment.volumes, imageTree(image), signal);
      await writeRecord(dataDir, runDir, record);
      this.#record = record;
      this.parts.host.shims.expect();
    } catch (error) {
      this.parts.labels.release(this.id);
      this.parts.volumes.release(this.id);
      await this.parts.images.release(this.id);
      throw error;
    }
  }

  protected async startRun(assignment: ContainerAssignment, signal: AbortSignal): Promise<void> {
    const record = this.#record;
    if (!record) throw new ClusterError('failedPrecondition', `container ${this.id} has not been created`);
    if (this.#run?.life.kind === 'running') return;
    const container = assignment.container!;
    const { host, bootId } = { host: partsOf(container).host, bootId: this.parts.host.bootId };
    const namespaces = namespacesOf(host);
    assertJoinable(namespaces.joins, (id) => this.#lender(id));
    await prepareSources(container.spec!.mounts);
    const [dataDir, runDir] = this.#dirs();
    const run = new Container(this.parts.host, { ...record, bootId }, dataDir, runDir);
    // First of all, since it takes longest; the rest is done beside it.
    run.warmUp();
    let release = () => {};
    try {
      release = await this.#files.beforeStart(signal);
      const image = await this.parts.images.ensure(record.imageId, this.id, signal);
      const spec = this.#compile(record, container, image);
      // The last run's shim removes the very groups that this one makes.
      await this.#run?.gone();
      await forgetRun(dataDir, runDir);
      this.#run = undefined;
      const { network } = namespaces;
      const ownPids = namespaces.pid === 'own';
      const ports = network === 'joined' ? [] : wantedPorts(container, image.config);
      const start: StartRecord = { bootId, network, ownPids, ports, local: { addr: '', mac: '' } };
      writeStart(dataDir, start);
      this.#start = start;
      this.#freezer.forget();
      this.#run = run;
      await this.parts.volumes.hold(record.volumes, this.id);
      await this.tellNextRun(run, host.console);
      const hosts = (address: string) =>
        writeHosts(runDir, networkFilesOf(record, partsOf(container), this.parts, address));
      hosts('');
      await run.start(spec, async (pid) => hosts(await this.#attach(run, pid, start, signal)), signal);
    } catch (error) {
      await run.discard();
      await this.parts.detach(run);
      await forgetRun(dataDir, runDir);
      this.#run = undefined;
      if (!(error instanceof LendingError)) throw error;
      throw lendingFailed(namespaces.joins, error.containerId, error.errno);
    } finally {
      release();
    }
    if (this.#start) this.#followEnd(run, this.#start);
  }

  async stop({ signal: name, timeoutMs }: StopOrder, signal: AbortSignal): Promise<void> {
    const run = this.#running();
    if (!run) return;
    const { stopSignal, stopGraceMs } = run.record;
    await run.signal(name === '' ? stopSignal : parseSignal(name));
    await this.#freezer.release();
    const graceOver = new AbortController();
    const both = AbortSignal.any([signal, graceOver.signal]);
    const grace = delay(this.parts.host.clock, timeoutMs < 0 ? stopGraceMs : timeoutMs, both).then(
      () => run.signal(9),
      () => {}, // ended, or the caller has given up
    );
    try {
      await abortable(run.ended, signal);
    } finally {
      graceOver.abort();
      await grace;
    }
  }

  async kill(signal: number): Promise<void> {
    const run = this.#running();
    if (!run) throw new ClusterError('conflict', `container ${this.id} is not running`);
    await run.signal(signal);
    if (signal === 9) await this.#freezer.release();
  }

  pause(): Promise<void> {
    return this.#freezer.freeze('pause');
  }

  unpause(): Promise<void> {
    return this.#freezer.thaw('pause');
  }

  async update(assignment: ContainerAssignment): Promise<void> {
    const { limits } = this.#settings(assignment.container!);
    if (this.#running()) await this.parts.host.cgroups.update(this.id, limits);
  }

  warnings(assignment: ContainerAssignment): readonly string[] {
    return this.#settings(assignment.container!).warnings;
  }

  /** For those who join its namespaces. */
  get lender(): Lender {
    return {
      hostname: this.#record?.hostname,
      filesOf: this.#record?.filesOf || this.id,
      isRunning: this.#running() !== undefined,
      isIpcShareable: this.#record?.lendsIpc ?? false,
      processLabel: this.#record?.labels?.process ?? '',
    };
  }

  async ended(signal: AbortSignal): Promise<void> {
    const run = this.#running();
    if (run) await abortable(run.ended, signal);
  }

  async useFiles<T>(
    assignment: ContainerAssignment,
    work: (files: FilesOf, image: LocalImage, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const record = this.#record;
    if (!record) throw new ClusterError('failedPrecondition', `container ${this.id} has not been created`);
    const image = await this.parts.images.ensure(record.imageId, this.id, signal);
    const spec = this.#compile(record, assignment.container!, image);
    return this.#files.use(spec, (files, both) => work(files, image, both), signal);
  }

  whileFrozen<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#files.whileFrozen(work, signal);
  }

  persist(): Promise<void> {
    return syncRecord(this.parts.dataDir(this.id));
  }

  writtenBytes(signal: AbortSignal): Promise<number> {
    return writtenBytes(`${this.parts.dataDir(this.id)}/upper`, signal);
  }

  async remove(): Promise<void> {
    await this.#freezer.release();
    await this.#files.close();
    const [dataDir, runDir] = this.#dirs();
    const run = this.#run ?? (this.#record && new Container(this.parts.host, this.#record, dataDir, runDir));
    if (run) await this.parts.dispose(run);
    await this.tellNextRun(undefined);
    this.#run = undefined;
    this.#record = undefined;
    this.#start = undefined;
    this.parts.forget(this.id);
  }

  #dirs(): [string, string] {
    return [this.parts.dataDir(this.id), this.parts.runDir(this.id)];
  }

  #running(): Container | undefined {
    return this.#run?.life.kind === 'running' ? this.#run : undefined;
  }

  #settings(container: ContainerObject) {
    const { spec, host } = partsOf(container);
    return this.parts.compiler.settings(TaskSpec.create({ container: spec }), spec, host);
  }

  #lender(containerId: string): Lender {
    return this.parts.lender(containerId) ?? { ...NO_LENDER, filesOf: containerId };
  }

  #compile(record: ContainerRecord, container: ContainerObject, image: LocalImage): Buffer {
    const { spec, host } = partsOf(container);
    const [dataDir, runDir] = this.#dirs();
    const { hostname, labels } = record;
    return this.parts.compiler.compile({
      id: this.id,
      task: Task.create({
        id: this.id,
        spec: TaskSpec.create({ container: spec, logDriver: host.logDriver }),
      }),
      image,
      dataDir,
      runDir,
      hostname,
      host,
      networkFiles: withoutHosts(networkFilesOf(record, partsOf(container), this.parts)),
      runDirOf: this.parts.runDir,
      mounts: spec.mounts,
      labels,
    });
  }

  /** @returns its address on the bridge; empty where it has none */
  async #attach(run: Container, pid: number, start: StartRecord, signal: AbortSignal): Promise<string> {
    const { network } = this.parts;
    if (start.network === 'host' || start.network === 'joined' || !network) return '';
    const { address, mac, ports } = await network.attach(sandboxOfStart(run, pid, start), signal);
    // Before the command may run: the next agent publishes the ports that this one has drawn.
    this.#start = { ...start, ports, local: { addr: address, mac } };
    writeStart(this.parts.dataDir(this.id), this.#start);
    return address;
  }

  /** Its names, addresses and links must not outlive it until it is started again. */
  #followEnd(run: Container, { ownPids }: StartRecord): void {
    void run.ended.then(async () => {
      this.#freezer.forget();
      await this.parts.detach(run);
      if (!ownPids) await this.parts.host.cgroups.kill(this.id);
    });
  }
}
