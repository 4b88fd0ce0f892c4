import { delay } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { effectiveHealthcheck } from '@tessera/shared/healthcheck';
import type { ContainerStatus, Health, Mount, Task } from '@tessera/shared/model';
import { withImageVolumes } from '@tessera/shared/volumes';
import { healthPlan, monitorHealth, STARTING } from '../../containers/health.js';
import type { LocalImage } from '../../image/image-store.js';
import { anonymousNames, namedMounts, prepareVolumes, volumeNames } from '../../volumes/index.js';
import type { Controller, ExitStatus } from '../executor.js';
import type { Exec, ExecRequest } from '../live-container.js';
import { abortable } from './abortable.js';
import { Container, type ContainerHost } from './container.js';
import { ContainerOperations } from './container-operations.js';
import { writeRecord } from './container-record.js';
import { imageTree } from './container-spec.js';
import type { ExecutorParts } from './executor-parts.js';
import { prepareSources } from './mount-sources.js';
import { OWN_NAMESPACES } from './namespaces.js';
import { sandboxOf } from './run-network.js';
import { DEFAULT_STOP_GRACE_MS, parseSignal } from './signals.js';

/** The words of Swarm's executor. */
const UNHEALTHY = 'dockerexec: unhealthy container';
const HEALTHY: Health = { ...STARTING, status: 'healthy' };

/** Runs one task's container. Made by ContainerExecutor, which hands over what an earlier agent left of it. */
export class ContainerController implements Controller {
  #container: Container | undefined;
  #spec: Buffer | undefined;
  /** As far as this agent has asked; it begins anew with each. */
  #health: Health | undefined;

  constructor(
    private readonly task: Task,
    private readonly parts: ExecutorParts,
    adopted: Container | undefined,
  ) {
    this.#container = adopted;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    if (this.#container && this.#container.life.kind !== 'prepared') return;
    const spec = this.task.spec?.container;
    if (!spec) throw invalid(`task ${this.task.id} has no container specification`);
    await prepareSources(spec.mounts);
    const id = this.#container?.id ?? this.parts.newContainerId();
    const image = await this.parts.images.ensure(spec.imageDigest || spec.image, id, signal);
    try {
      const mounts = namedMounts(withImageVolumes(spec.mounts, image.config.volumes), this.task.id);
      await prepareVolumes(this.parts.volumes, id, mounts, [], imageTree(image), signal);
      await this.#make(id, image, mounts);
    } catch (error) {
      await this.remove();
      this.parts.labels.release(id);
      this.parts.volumes.release(id);
      await this.parts.images.release(id);
      throw error;
    }
  }

  async #make(id: string, image: LocalImage, mounts: readonly Mount[]): Promise<void> {
    const { task, parts } = this;
    const spec = task.spec!.container!;
    const hostname = spec.hostname || id.slice(0, 12);
    const labels = parts.labels.assign(id, {
      asked: [],
      privileged: spec.privileged,
      namespaces: OWN_NAMESPACES,
      labelOf: () => '',
    });
    const [dataDir, runDir] = [parts.dataDir(id), parts.runDir(id)];
    const record = {
      id,
      taskId: task.id,
      imageId: image.id,
      hostname,
      bootId: parts.host.bootId,
      stopSignal: parseSignal(spec.stopSignal || image.config.stopSignal),
      stopGraceMs: spec.stopGraceMs < 0 ? DEFAULT_STOP_GRACE_MS : spec.stopGraceMs,
      attachments: task.networks,
      dnsServers: spec.dnsServers,
      standalone: false,
      volumes: volumeNames(mounts),
      ownVolumes: anonymousNames(mounts),
      tty: spec.tty,
      stdin: spec.openStdin ? ('open' as const) : ('closed' as const),
      healthcheck: effectiveHealthcheck(spec.healthcheck, image.config.healthcheck),
      lendsIpc: false,
      filesOf: '',
      labels,
    };
    this.#container = new Container(parts.host, record, dataDir, runDir);
    parts.containers.set(task.id, this.#container);
    // First of all, since it takes longest; the rest is done beside it.
    this.#container.warmUp();
    const networkFiles = parts.networkFiles({
      hostname,
      attachments: task.networks,
      extraHosts: spec.hosts,
      dnsServers: spec.dnsServers,
      dnsSearch: spec.dnsSearch,
      dnsOptions: spec.dnsOptions,
    });
    const inputs = {
      id,
      task,
      image,
      dataDir,
      runDir,
      hostname,
      networkFiles,
      runDirOf: parts.runDir,
      mounts,
      labels,
    };
    this.#spec = parts.compiler.compile(inputs);
    await writeRecord(dataDir, runDir, record);
  }

  async start(signal: AbortSignal): Promise<void> {
    if (this.#container && this.#container.life.kind !== 'prepared') return;
    // After a crash between the two: what was prepared then has been cleared away.
    if (!this.#spec) await this.prepare(signal);
    const container = this.#container!;
    const { network } = this.parts;
    const attach = async (pid: number) => {
      await network?.attach(sandboxOf(container, pid), signal);
    };
    try {
      await this.parts.volumes.hold(container.record.volumes, container.id);
      await container.start(this.#spec!, attach, signal);
    } catch (error) {
      // It may have been attached before its command was found missing.
      await this.parts.detach(container);
      throw error;
    }
    this.#spec = undefined;
    // Its names, addresses and links must not outlive it until it is removed, which may be much later.
    void container.ended.then(() => this.parts.detach(container));
  }

  async ready(signal: AbortSignal): Promise<void> {
    this.#health ??= STARTING;
    await this.#watch(signal, ({ status }) => status !== 'starting');
    if (this.#health.status !== 'unhealthy') return;
    await this.shutdown(signal);
    throw new ClusterError('failedPrecondition', UNHEALTHY);
  }

  async wait(signal: AbortSignal): Promise<ExitStatus> {
    // A task that runs was well when its last agent looked.
    this.#health ??= HEALTHY;
    const container = await this.#watch(signal, ({ status }) => status === 'unhealthy');
    if (this.#health.status !== 'unhealthy') return abortable(container.ended, signal);
    const exit = (await this.shutdown(signal)) ?? (await abortable(container.ended, signal));
    return { ...exit, error: UNHEALTHY };
  }

  /** Asks for its health until that is as awaited, or the container has ended. */
  async #watch(signal: AbortSignal, isAwaited: (health: Health) => boolean): Promise<Container> {
    const container = this.#container;
    if (!container) throw new ClusterError('failedPrecondition', `task ${this.task.id} has no container`);
    const plan = healthPlan(container.record.healthcheck);
    if (!plan || container.life.kind !== 'running' || isAwaited(this.#health!)) return container;
    const { host } = this.parts;
    const over = new AbortController();
    const { startedAtMs } = container.life;
    const decided = new Promise<void>((resolve) => {
      const onHealth = (health: Health) => {
        this.#health = health;
        if (isAwaited(health)) resolve();
      };
      const runtime = new TaskProbe(container, host);
      const { clock, logger } = host;
      const options = { runtime, plan, clock, logger, startedAtMs, health: () => this.#health!, onHealth };
      void monitorHealth(options, AbortSignal.any([signal, over.signal]));
    });
    try {
      await Promise.race([decided, abortable(container.ended, signal)]);
    } finally {
      over.abort();
    }
    return container;
  }

  async shutdown(signal: AbortSignal): Promise<ExitStatus | undefined> {
    const container = this.#container;
    if (!container || container.life.kind === 'prepared') return undefined;
    const { stopSignal, stopGraceMs } = container.record;
    await container.signal(stopSignal);
    const graceOver = new AbortController();
    const both = AbortSignal.any([signal, graceOver.signal]);
    const grace = delay(this.parts.host.clock, stopGraceMs, both).then(
      () => container.signal(9),
      () => {}, // ended, or the caller has given up
    );
    try {
      return await abortable(container.ended, signal);
    } finally {
      graceOver.abort();
      await grace;
    }
  }

  async remove(): Promise<void> {
    if (this.#container) await this.parts.dispose(this.#container);
    this.#container = undefined;
    this.#spec = undefined;
  }

  status(): ContainerStatus | undefined {
    const container = this.#container;
    if (!container) return undefined;
    const { life } = container;
    const ended = life.kind === 'ended' ? life.status : undefined;
    return {
      containerId: container.id,
      pid: life.kind === 'running' ? life.pid : 0,
      exitCode: ended?.exitCode ?? 0,
      oomKilled: ended?.oomKilled ?? false,
      startedAtMs: life.kind === 'running' || life.kind === 'ended' ? Math.round(life.startedAtMs) : 0,
      finishedAtMs: ended?.finishedAtMs ?? 0,
    };
  }
}

/** What a health check asks of a task's container. */
class TaskProbe {
  constructor(
    private readonly container: Container,
    private readonly host: ContainerHost,
  ) {}

  get life() {
    return this.container.life;
  }

  createExec(request: ExecRequest): Promise<Exec> {
    return new ContainerOperations(this.container, this.host).createExec(request);
  }
}
