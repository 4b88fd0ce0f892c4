import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { HostFacts, InfoCounts, SwarmInfo } from '@tessera/shared/docker-api';
import { inactiveSwarm } from '@tessera/shared/docker-api';
import { type Clock, type Logger, openFileCount, type Random } from '@tessera/shared/env';
import { ClusterError, errorText } from '@tessera/shared/errors';
import { LOCAL_STREAMS_SOCKET } from '@tessera/shared/frames';
import type { NodeDescription } from '@tessera/shared/model';
import type { Config } from './config.js';
import {
  type InitRequest,
  type JoinRequest,
  lockingUnsupported,
  type NewClusterSpec,
  type NodeBackend,
  type NodeStatusReport,
  parseClusterSpec,
} from './local-api/index.js';
import {
  addressTowards,
  advertiseAddress,
  hostOf,
  joinCluster,
  listenAddress,
  MANAGER_PORT,
  type ManagerSupervisor,
  type NodeDirectory,
  type NodeIdentity,
  type NodeSettings,
  ownManager,
  withPort,
} from './node/index.js';
import { NodeAgent, type NodeParts } from './node-agent.js';
import { AgentDirectory } from './storage/index.js';

/** The parts that touch the host, and how to let go of them. */
export interface OpenParts extends NodeParts {
  /** Stops serving; containers, networks and images stay as they are. */
  close(): Promise<void>;
  /** The same, and takes away what the cluster has left on this host beside tasks: networks, for one. */
  clear(): Promise<void>;
}

/** What keeps this node's manager running. */
export type Supervisor = Pick<ManagerSupervisor, 'start' | 'ready' | 'running' | 'release' | 'stop'>;

export interface DaemonOptions {
  readonly config: Config;
  readonly directory: NodeDirectory;
  /** Builds the parts of a node that has just become, or is again, one of a cluster. */
  readonly openParts: (settings: NodeSettings, identity: NodeIdentity) => Promise<OpenParts>;
  readonly newSupervisor: (onChange: (up: boolean) => void) => Supervisor;
  readonly describe: (settings: NodeSettings, peerPort: number) => NodeDescription;
  readonly host: () => HostFacts;
  /** Whether this process, not the manager, is to answer at the API socket. */
  readonly serveApi: (serve: boolean) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

type State = 'inactive' | 'pending' | 'active' | 'error';

/** This host's part in a cluster: enters it, takes part in it, leaves it. */
export class Daemon implements NodeBackend {
  readonly #stopping = new AbortController();
  #state: State = 'inactive';
  #error = '';
  #agent: NodeAgent | undefined;
  #parts: OpenParts | undefined;
  #storage: AgentDirectory | undefined;
  #supervisor: Supervisor | undefined;
  /** The agent's start, which opens the parts and adopts the containers. */
  #activation: Promise<void> = Promise.resolve();
  /** Entering and leaving a cluster go one after the other. */
  #change: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: DaemonOptions) {}

  /** Takes up what this node was doing before: nothing, or its place in a cluster. */
  async start(): Promise<void> {
    const { directory } = this.options;
    const [identity, settings] = [directory.identity(), directory.settings()];
    if (!identity || !settings) {
      // An agent that died while it entered a cluster has left files, perhaps a manager, and no identity.
      if (settings) await this.#leave();
      return this.options.serveApi(true);
    }
    this.#state = 'pending';
    if (identity.role === 'manager') this.#startManager(settings, []);
    // A manager that has outlived the last agent keeps the socket; it must not be taken from it.
    if (!this.#supervisor?.running) await this.options.serveApi(true);
    await this.#activate(settings, identity);
  }

  /** Ends this process's part. Containers and the manager live on. */
  async stop(reason: string): Promise<void> {
    this.#stopping.abort(new DOMException('the agent stops', 'AbortError'));
    await this.#change.catch(() => undefined);
    await this.#agent?.stop(reason);
    await this.#parts?.close();
    await this.#supervisor?.release();
    this.#storage?.close();
  }

  init(request: InitRequest): Promise<string> {
    return this.#exclusively(async () => {
      this.#refuseIfMember();
      if (request.AutoLockManagers) throw lockingUnsupported();
      const spec = parseClusterSpec(request.Spec);
      const settings = this.#settingsOf(request);
      const { directory } = this.options;
      await this.#prepareRequest();
      directory.writeSettings(settings);
      return this.#entering(async (signal) => {
        this.#startManager(settings, initFlags(request, spec, this.options.config));
        await this.#supervisor!.ready(signal);
        const identity = directory.identity();
        if (!identity) throw new ClusterError('internal', 'the manager made no certificate for this node');
        await this.#activate(settings, identity);
        return identity.nodeId;
      });
    });
  }

  join(request: JoinRequest): Promise<void> {
    return this.#exclusively(async () => {
      this.#refuseIfMember();
      const { directory, config, clock } = this.options;
      const managerAddrs = request.RemoteAddrs.map((addr) => withPort(addr, MANAGER_PORT));
      const settings = this.#settingsOf({
        ...request,
        // As Docker does: of several addresses, the one that leads to the manager.
        AdvertiseAddr:
          request.AdvertiseAddr || config.advertiseAddr || (await addressTowards(managerAddrs[0]!)),
      });
      const { csrPem } = await this.#prepareRequest();
      await this.#entering(async (signal) => {
        const answer = await joinCluster({
          managerAddrs,
          token: request.JoinToken,
          csrPem,
          hostname: config.hostname,
          availability: request.Availability || 'active',
          clock,
          signal,
        });
        const identity: NodeIdentity = {
          nodeId: answer.nodeId,
          clusterId: answer.clusterId,
          role: answer.role === 'manager' ? 'manager' : 'worker',
          managerAddrs: [...answer.managerAddrs],
          incarnation: 0,
        };
        directory.writeCertificates(answer.certPem, answer.caCertPem, answer.managerBootstrap);
        directory.writeSettings(settings);
        directory.writeIdentity(identity);
        if (identity.role === 'manager') {
          this.#startManager(settings, []);
          await this.#supervisor!.ready(signal);
        }
        await this.#activate(settings, identity);
      });
    });
  }

  leave(force: boolean): Promise<void> {
    this.#checkLeave(force);
    return this.#exclusively(() => this.#leave());
  }

  /** Begins to leave; what happens after is logged. */
  beginLeave(force: boolean): void {
    this.leave(force).catch((error: unknown) =>
      this.options.logger.error({ error }, 'this node could not leave its cluster'),
    );
  }

  swarm(): SwarmInfo {
    if (this.#state === 'inactive') return inactiveSwarm;
    const identity = this.#agent?.identity ?? this.options.directory.identity();
    const settings = this.options.directory.settings();
    return {
      NodeID: identity?.nodeId ?? '',
      NodeAddr: settings ? hostOf(settings.advertiseAddr) : '',
      LocalNodeState: this.#state,
      ControlAvailable: false,
      Error: this.#error,
      RemoteManagers: identity?.managerAddrs.map((Addr) => ({ NodeID: '', Addr })) ?? null,
    };
  }

  role(): 'worker' | 'manager' | undefined {
    return this.options.directory.identity()?.role;
  }

  host(): HostFacts {
    return this.options.host();
  }

  counts(): InfoCounts {
    const running = this.#agent?.taskCount ?? 0;
    return {
      containersRunning: running,
      containersPaused: 0,
      containersStopped: 0,
      images: this.#parts?.images.held().length ?? 0,
      openFiles: openFileCount(),
      // Events are told by managers alone.
      eventReaders: 0,
    };
  }

  status(): NodeStatusReport {
    const identity = this.#agent?.identity;
    return {
      state: this.#state,
      nodeId: identity?.nodeId ?? '',
      role: identity?.role,
      managerAddrs: identity?.managerAddrs ?? [],
      session: this.#agent?.session ?? null,
      taskCount: this.#agent?.taskCount ?? 0,
    };
  }

  async #activate(settings: NodeSettings, identity: NodeIdentity): Promise<void> {
    const { config, directory, clock, random, logger, describe, openParts } = this.options;
    const storage = new AgentDirectory(join(config.dataDir, 'agent'), (error) =>
      logger.error({ error }, 'what this node must remember could not be written; trying again'),
    );
    const agent = new NodeAgent({
      directory,
      openParts: async () => {
        this.#parts = await openParts(settings, identity);
        return this.#parts;
      },
      storage,
      addr: hostOf(settings.advertiseAddr),
      ownManager: ownManager(identity, settings),
      localSocket: join(this.options.config.runDir, LOCAL_STREAMS_SOCKET),
      describe: (peerPort) => describe(settings, peerPort),
      clock,
      random,
      logger,
      onRemoved: (reason) => {
        logger.warn({ reason }, 'the cluster has removed this node');
        this.#exclusively(() => this.#leave()).catch((error: unknown) =>
          logger.error({ error }, 'what the cluster has left here could not be removed'),
        );
      },
    });
    [this.#storage, this.#agent] = [storage, agent];
    this.#state = 'active';
    this.#error = '';
    this.#activation = agent.start();
    await this.#activation;
  }

  #startManager(settings: NodeSettings, flags: readonly string[]): void {
    const { config, directory, newSupervisor } = this.options;
    this.#supervisor = newSupervisor((up) => this.#managerChanged(up));
    this.#supervisor.start([
      ...['--data-dir', join(config.dataDir, 'manager')],
      ...['--run-dir', config.runDir],
      ...['--node-dir', directory.path],
      ...['--listen-addr', settings.listenAddr],
      ...['--advertise-addr', settings.advertiseAddr],
      ...['--hostname', config.hostname],
      ...['--socket-group', config.socketGroup],
      ...['--log-level', config.logLevel],
      ...(config.etcdEndpoints.length > 0 ? ['--etcd-endpoints', config.etcdEndpoints.join(',')] : []),
      ...config.etcdTlsFlags,
      ...flags,
    ]);
  }

  /** The manager serves the API while it is there; in between this process says that it is not. */
  #managerChanged(up: boolean): void {
    if (this.#stopping.signal.aborted) return;
    this.options
      .serveApi(!up)
      .catch((error: unknown) => this.options.logger.error({ error }, 'API socket lost'));
  }

  /** Runs the steps by which this node enters a cluster; what they leave when they fail is taken back. */
  async #entering<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, logger, config } = this.options;
    const { enterTimeoutMs } = config;
    this.#state = 'pending';
    const timeout = new AbortController();
    const cancel = clock.after(enterTimeoutMs, () => {
      const seconds = enterTimeoutMs / 1000;
      timeout.abort(
        new ClusterError('deadlineExceeded', `not done within ${seconds} s (tsd --enter-timeout=${seconds})`),
      );
    });
    try {
      return await body(AbortSignal.any([timeout.signal, this.#stopping.signal]));
    } catch (error) {
      logger.error({ error }, 'this node could not enter the cluster');
      // Our own end is no failure: the next start goes on from the files written so far.
      if (!this.#stopping.signal.aborted) await this.#leave();
      this.#error = errorText(error);
      throw error;
    } finally {
      cancel();
    }
  }

  async #leave(): Promise<void> {
    const { config, directory, serveApi } = this.options;
    this.#state = 'pending';
    // A node can be removed while it starts: what it has here is known, and can be taken away, only after that.
    await this.#activation.catch(() => undefined);
    await this.#agent?.leave();
    await this.#parts?.clear();
    this.#storage?.close();
    await (this.#supervisor ?? this.options.newSupervisor(() => undefined)).stop();
    rmSync(join(config.dataDir, 'agent'), { recursive: true, force: true });
    rmSync(join(config.dataDir, 'manager'), { recursive: true, force: true });
    directory.clear();
    [this.#agent, this.#parts, this.#storage, this.#supervisor] = [
      undefined,
      undefined,
      undefined,
      undefined,
    ];
    this.#state = 'inactive';
    await serveApi(true);
  }

  #checkLeave(force: boolean): void {
    if (this.#state === 'inactive')
      throw new ClusterError('unavailable', 'This node is not part of a cluster');
    if (this.role() === 'manager' && !force)
      throw new ClusterError(
        'unavailable',
        'You are attempting to leave the cluster on a node that is participating as a manager. Removing the last ' +
          'manager erases all current state of the cluster. Use `--force` to ignore this message.',
      );
  }

  #refuseIfMember(): void {
    if (this.#state !== 'inactive')
      throw new ClusterError(
        'unavailable',
        'This node is already part of a cluster. Use "tsctl cluster leave" to leave this cluster and join another one.',
      );
  }

  #settingsOf(request: { ListenAddr: string; AdvertiseAddr: string; DataPathAddr: string }): NodeSettings {
    const { config } = this.options;
    const listenAddr = listenAddress(request.ListenAddr || config.listenAddr, MANAGER_PORT);
    // As Docker does: a node that listens on one address is reached there.
    const listenHost = hostOf(listenAddr);
    const named =
      request.AdvertiseAddr || config.advertiseAddr || (listenHost === '0.0.0.0' ? '' : listenHost);
    const advertiseAddr = advertiseAddress(named, MANAGER_PORT);
    const dataPath = request.DataPathAddr || config.dataPathAddr;
    return {
      listenAddr,
      advertiseAddr,
      dataPathAddr: dataPath ? hostOf(advertiseAddress(dataPath, MANAGER_PORT)) : hostOf(advertiseAddr),
    };
  }

  async #prepareRequest(): Promise<{ csrPem: string }> {
    const { directory } = this.options;
    // Loaded when a node enters a cluster, and not at every start: it is a third of what a start has to load.
    const { newSigningRequest } = await import('./node/signing-request.js');
    const request = await newSigningRequest(directory.pendingKey());
    directory.writeRequest(request.keyPem, request.csrPem);
    return request;
  }

  #exclusively<T>(body: () => Promise<T>): Promise<T> {
    const next = this.#change.catch(() => undefined).then(body);
    this.#change = next;
    return next;
  }
}

/** Flags of the manager that makes a new cluster. */
function initFlags(request: InitRequest, spec: NewClusterSpec, config: Config): string[] {
  const { taskHistoryLimit, heartbeatPeriodMs } = spec;
  return [
    '--init',
    ...(request.DefaultAddrPool ?? []).flatMap((pool) => ['--default-addr-pool', pool]),
    ...(request.SubnetSize ? ['--subnet-size', String(request.SubnetSize)] : []),
    ...['--data-path-port', String(request.DataPathPort || config.dataPathPort)],
    ...['--availability', request.Availability || 'active'],
    ...(taskHistoryLimit === undefined ? [] : ['--task-history-limit', String(taskHistoryLimit)]),
    ...(heartbeatPeriodMs === undefined ? [] : ['--heartbeat-period-ms', String(heartbeatPeriodMs)]),
    ...(request.ForceNewCluster ? ['--force-new-cluster'] : []),
  ];
}
