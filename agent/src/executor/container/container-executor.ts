import { mkdir, readdir, readFile } from 'node:fs/promises';
import { availableParallelism, release } from 'node:os';
import { clear } from '@tessera/native';
import { type Clock, type Logger, newHexId, type Random } from '@tessera/shared/env';
import type { Task } from '@tessera/shared/model';
import { API_DIRECTORY } from '@tessera/shared/volumes';
import type { ContainerRuntime } from '../../containers/runtime.js';
import type { ImageStore } from '../../image/image-store.js';
import type { ContainerNetwork, NetworkFiles, Sandbox } from '../../network/container-network.js';
import { Volumes, volumesDirectory } from '../../volumes/index.js';
import type { Controller, Executor } from '../executor.js';
import type { LiveContainer } from '../live-container.js';
import type { TaskLogs } from '../task-logs.js';
import { parsePermitted } from './capabilities.js';
import { type CgroupDriver, openCgroups } from './cgroups/index.js';
import { Container } from './container.js';
import { ContainerController } from './container-controller.js';
import { ContainerOperations } from './container-operations.js';
import { type ContainerRecord, readRecord } from './container-record.js';
import { type HostFacts, SpecCompiler } from './container-spec.js';
import type { ExecutorParts } from './executor-parts.js';
import { SegmentTaskLogs } from './logs/segment-task-logs.js';
import { sandboxOf, sandboxOfStart } from './run-network.js';
import { defaultFilter } from './seccomp/filter.js';
import { readSecurityModules, SelinuxLabels, type SelinuxMode } from './security/index.js';
import { ShimReserve } from './shim-reserve.js';
import { StandaloneContainer } from './standalone-container.js';
import { Trash } from './trash.js';

export interface ContainerExecutorOptions {
  /** `<data-dir>`: containers lie in `containers/<id>` below it. */
  readonly dataDir: string;
  /** `<run-dir>`: what dies with a boot. */
  readonly runDir: string;
  /** Path below each cgroup mount point, such as `/tessera`. */
  readonly cgroupParent: string;
  readonly images: ImageStore;
  /** Absent: containers have a loopback interface and nothing else. */
  readonly network?: ContainerNetwork;
  /** `auto` where absent. */
  readonly selinux?: SelinuxMode;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** How many containers are looked at or removed at once at start. */
const RECOVERIES_AT_ONCE = 16;

/** Runs tasks as containers on this host, by the runtime core. */
export class ContainerExecutor implements Executor, ContainerRuntime {
  /** Found at start and not asked for yet, by task id. */
  readonly #adopted = new Map<string, Container>();
  /** Those that are no task's, by their own id. */
  readonly #standalone = new Map<string, StandaloneContainer>();
  readonly logs: TaskLogs;
  readonly #parts: ExecutorParts;

  private constructor(
    private readonly options: ContainerExecutorOptions,
    cgroups: CgroupDriver,
    facts: HostFacts,
    trash: Trash,
    readonly volumes: Volumes,
  ) {
    const { images, network, random, clock, logger } = options;
    this.#parts = {
      host: {
        clock,
        logger,
        cgroups,
        bootId: facts.bootId,
        trash,
        shims: new ShimReserve(clock),
        capabilities: facts.capabilities,
        apparmor: facts.security.apparmor,
        newId: () => newHexId(random),
      },
      compiler: new SpecCompiler(cgroups, facts, defaultFilter, {
        volume: (name) => volumes.pathOf(name),
        apiDirectory: `${options.runDir}/${API_DIRECTORY}`,
      }),
      images,
      network,
      volumes,
      labels: new SelinuxLabels(facts.security.selinux, random),
      containers: new Map(),
      newContainerId: () => newHexId(random),
      dataDir: (id) => `${options.dataDir}/containers/${id}`,
      runDir: (id) => `${options.runDir}/containers/${id}`,
      networkFiles: (spec) => network?.files(spec) ?? loopbackFiles(spec.hostname, spec.extraHosts),
      lender: (id) => this.#standalone.get(id)?.lender,
      forget: (id) => void this.#standalone.delete(id),
      detach: (container) => this.#detach(container),
      dispose: (container) => this.#dispose(container),
    };
    const { containers } = this.#parts;
    this.logs = new SegmentTaskLogs((id) => containers.get(id) ?? this.#standalone.get(id)?.log);
  }

  /** Reads what this host is, and makes the cgroups that containers lie in. */
  static async open(options: ContainerExecutorOptions): Promise<ContainerExecutor> {
    const cgroups = await openCgroups(options.cgroupParent);
    await cgroups.prepare();
    for (const dir of [options.dataDir, options.runDir])
      await mkdir(`${dir}/containers`, { recursive: true, mode: 0o700 });
    await mkdir(`${options.runDir}/${API_DIRECTORY}`, { recursive: true, mode: 0o755 });
    const { clock, random, logger } = options;
    const path = volumesDirectory(options.dataDir);
    const volumes = await Volumes.open({ path, clock, random, logger });
    const trash = await Trash.open(`${options.dataDir}/trash`, options.clock, options.logger);
    const facts = await readHostFacts(options.selinux);
    const { selinux } = facts.security;
    if (selinux.kind === 'unusable')
      logger.warn({ reason: selinux.reason }, 'this host has SELinux, and containers get no labels');
    return new ContainerExecutor(options, cgroups, facts, trash, volumes);
  }

  get bootId(): string {
    return this.#parts.host.bootId;
  }

  container(id: string): StandaloneContainer {
    let container = this.#standalone.get(id);
    if (!container) {
      container = new StandaloneContainer(id, this.#parts);
      this.#standalone.set(id, container);
    }
    return container;
  }

  /** The container of this id, a task's or not, that is here. */
  live(containerId: string): LiveContainer | undefined {
    const { containers, host } = this.#parts;
    const own = this.#standalone.get(containerId);
    if (own) return own;
    for (const container of containers.values())
      if (container.id === containerId) return new ContainerOperations(container, host);
    return undefined;
  }

  get cgroups(): CgroupDriver {
    return this.#parts.host.cgroups;
  }

  /** Resolves when what was removed has been deleted to the last file; `remove` does not wait for that. */
  idle(): Promise<void> {
    return this.#parts.host.trash.idle();
  }

  controller(task: Task): Controller {
    const adopted = this.#adopted.get(task.id);
    this.#adopted.delete(task.id);
    return new ContainerController(task, this.#parts, adopted);
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    const { dataDir, runDir } = this.options;
    const ids = new Set([
      ...(await list(`${dataDir}/containers`)),
      ...(await list(`${runDir}/containers`)),
      ...(await this.cgroups.list()),
    ]);
    const live: Container[] = [];
    const queue = [...ids];
    const work = async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        const container = await this.#recoverOne(id, known);
        if (container) live.push(container);
      }
    };
    await Promise.all(Array.from({ length: RECOVERIES_AT_ONCE }, work));
    await this.options.network?.adopt(live.flatMap((container) => this.#sandbox(container)));
    await this.volumes.settle();
    for (const container of live) {
      if (container.record.standalone) continue;
      this.#adopted.set(container.record.taskId, container);
      this.#parts.containers.set(container.record.taskId, container);
      void container.ended.then(() => this.#detach(container));
    }
  }

  /** Of one that runs and has a network of its own. */
  #sandbox(container: Container): Sandbox[] {
    if (container.life.kind !== 'running') return [];
    const { pid } = container.life;
    if (!container.record.standalone) return [sandboxOf(container, pid)];
    const start = this.container(container.id).startRecord;
    return start && start.network !== 'host' && start.network !== 'joined'
      ? [sandboxOfStart(container, pid, start)]
      : [];
  }

  /** The container when its task is known and it has run; everything else of that id is taken away. */
  async #recoverOne(id: string, known: ReadonlySet<string>): Promise<Container | undefined> {
    const { host, dataDir, runDir } = this.#parts;
    const logger = host.logger.child({ 'container.id': id });
    try {
      const record = await readRecord(dataDir(id));
      if (!record) {
        await host.cgroups.kill(id);
        await clear(host.cgroups.paths(id), [runDir(id), dataDir(id)]);
        return undefined;
      }
      if (record.standalone && known.has(id)) {
        this.#holdImage(record, logger);
        this.#parts.labels.hold(id, record.labels);
        for (const name of record.volumes) this.volumes.use(name, id);
        const running = await this.container(id).adopt(record);
        if (running) await this.#keepVolumes(running);
        return running;
      }
      const container = new Container(host, record, dataDir(id), runDir(id));
      await container.adopt();
      if (!known.has(record.taskId) || container.life.kind === 'prepared') {
        logger.info({ 'task.id': record.taskId }, 'removing what an earlier agent left of a container');
        await this.#dispose(container);
        return undefined;
      }
      this.#holdImage(record, logger);
      this.#parts.labels.hold(id, record.labels);
      await this.#keepVolumes(container);
      return container;
    } catch (error) {
      logger.error({ error }, 'a container of an earlier agent can be neither adopted nor removed');
      return undefined;
    }
  }

  /** Its volumes stay while it is here, and mounted while it runs. */
  async #keepVolumes({ record, life }: Container): Promise<void> {
    for (const name of record.volumes) this.volumes.use(name, record.id);
    if (life.kind === 'running') await this.volumes.hold(record.volumes, record.id);
  }

  /** Without waiting: it runs all the same, its layers are mounted, and a missing one may take long to come. */
  #holdImage({ imageId, id }: ContainerRecord, logger: Logger): void {
    this.options.images.ensure(imageId, id, new AbortController().signal).catch((error: unknown) => {
      logger.warn({ error }, 'the image of a container from before cannot be held');
    });
  }

  /** What fails here is done by the removal, or by the network's own next look at who has ended. */
  async #detach(container: Container): Promise<void> {
    await this.options.network?.detach(container.id, this.#isJoined(container.id)).catch((error: unknown) => {
      const { logger } = this.#parts.host;
      logger.warn({ 'container.id': container.id, error }, 'an ended container is still in its networks');
    });
    await this.volumes.letGo(container.record.volumes, container.id).catch((error: unknown) => {
      const { logger } = this.#parts.host;
      logger.warn({ 'container.id': container.id, error }, "an ended container's volume is still mounted");
    });
  }

  /** Whether another container, which may live on, has this one's network. */
  #isJoined(id: string): boolean {
    return [...this.#standalone.values()].some((other) => other.id !== id && other.lender.filesOf === id);
  }

  async #dispose(container: Container): Promise<void> {
    const { network, images } = this.options;
    const isJoined = this.#isJoined(container.id);
    await Promise.all([
      container.remove(),
      network?.detach(container.id, isJoined),
      images.release(container.id),
    ]);
    const { volumes, ownVolumes } = container.record;
    await this.volumes.letGo(volumes, container.id);
    this.volumes.release(container.id);
    this.#parts.labels.release(container.id);
    for (const name of ownVolumes) await this.volumes.discard(name);
    const { containers } = this.#parts;
    if (containers.get(container.record.taskId) === container) containers.delete(container.record.taskId);
  }
}

async function list(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

async function readHostFacts(selinux: SelinuxMode = 'auto'): Promise<HostFacts> {
  const [bootId, status, limits] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile('/proc/self/status', 'utf8'),
    readFile('/proc/self/limits', 'utf8'),
  ]);
  const nofile = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return {
    bootId: bootId.trim(),
    cpus: availableParallelism(),
    overlayParts: isAtLeast(release(), 6, 5),
    kernel: release(),
    security: readSecurityModules(selinux),
    capabilities: parsePermitted(status),
    hardNofile: nofile === undefined || nofile === 'unlimited' ? 1_048_576 : Number(nofile),
  };
}

/** @param kernel as uname gives it: `6.1.0-18-cloud-amd64` */
function isAtLeast(kernel: string, major: number, minor: number): boolean {
  const [ours = 0, minors = 0] = kernel.split('.').map(Number.parseFloat);
  return ours > major || (ours === major && minors >= minor);
}

/** For a container without networks. Source: moby, libnetwork's /etc/hosts. */
function loopbackFiles(hostname: string, extraHosts: readonly string[]): NetworkFiles {
  const hosts = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `127.0.1.1\t${hostname}`,
  ];
  return { resolvConf: '', hosts: `${[...hosts, ...extraHosts].join('\n')}\n` };
}
