import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { NodeDescription } from '@tessera/shared/model';
import type { Assignments, Register, StreamRequest, Welcome } from '@tessera/shared/wire';
import { type ContainerRuntime, Containers } from './containers/index.js';
import type { Executor } from './executor/executor.js';
import type { TaskLogs } from './executor/task-logs.js';
import type { ImageStore } from './image/image-store.js';
import type { NatBridge, NetworkPlane } from './network/network-plane.js';
import { dialledAt, type NodeDirectory, type NodeIdentity, type OwnManager } from './node/index.js';
import { SessionLoop, StatusOutbox } from './session/index.js';
import type { AgentStorage, Registration } from './storage/index.js';
import { ContainerStreams, SideStreams, type StreamedImages } from './streams/index.js';
import type { Volumes } from './volumes/index.js';
import { type AssignedWork, AssignmentSet, Worker } from './worker/index.js';

/** How long a manager holds this node as restarting: a start, under full load, with a day's containers to adopt. */
const RESTART_MS = 60_000;

/** The parts that touch the host. */
export interface NodeParts {
  /** Runs tasks, and containers that are no task's. */
  readonly executor: Executor & ContainerRuntime;
  readonly plane: NetworkPlane;
  readonly bridge?: NatBridge;
  readonly images: ImageStore & StreamedImages;
  readonly logs: TaskLogs;
  readonly volumes?: Volumes;
  /** Where other agents fetch layers from. */
  readonly peerPort: number;
  /** Called once the containers of before have been adopted: what they need is known to be needed. */
  recovered(): Promise<void>;
}

export interface NodeAgentOptions {
  readonly directory: NodeDirectory;
  readonly openParts: () => Promise<NodeParts>;
  readonly storage: AgentStorage;
  /** The address other parts reach this node by, without a port. */
  readonly addr: string;
  readonly ownManager: OwnManager | undefined;
  /** Where a manager on this node takes streams of its own host. */
  readonly localSocket?: string;
  readonly describe: (peerPort: number) => NodeDescription;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The cluster has removed this node. */
  readonly onRemoved: (reason: string) => void;
}

/** What works with the parts of this host, once they are open. */
interface Workings {
  readonly parts: NodeParts;
  readonly worker: Worker;
  readonly containers: Containers;
  readonly streams: SideStreams;
}

/** A node that belongs to a cluster: its session, and the work it is given there. */
export class NodeAgent {
  readonly #outbox = new StatusOutbox((states) => this.#workings?.containers.acknowledged(states));
  readonly #sessions: SessionLoop;
  readonly #stopping = new AbortController();
  #workings: Workings | undefined;
  #identity: NodeIdentity;
  #assignments = new AssignmentSet();
  #firstOfSession = true;
  #revision = 0;
  #recovered = false;
  /** What came before the containers were adopted; taken up right after. */
  #waitingWork: AssignedWork | undefined;
  #waitingStreams: StreamRequest[] = [];
  #acknowledged = 0;
  #unsubscribe: () => void = () => undefined;

  constructor(private readonly options: NodeAgentOptions) {
    const { directory, clock, random, logger } = options;
    const identity = directory.identity();
    if (!identity) throw new ClusterError('failedPrecondition', 'this node is in no cluster');
    this.#identity = identity;
    this.#sessions = new SessionLoop({
      clock,
      random,
      logger: logger.child({ module: 'session' }),
      managerAddrs: () => this.#addrsToDial(),
      onRemoved: options.onRemoved,
      open: () => ({
        credentials: directory.credentials(),
        outbox: this.#outbox,
        register: () => this.#register(),
        handlers: {
          onWelcome: (welcome) => this.#begin(welcome),
          onAssignments: (assignments) => this.#take(assignments),
          onStreamRequest: (request) => this.#openStream(request),
          onManagers: (addrs) => this.#learn({ managerAddrs: [...addrs] }),
        },
      }),
    });
  }

  get identity(): NodeIdentity {
    return this.#identity;
  }

  /** Undefined while no manager has welcomed this node. */
  get session(): { managerAddr: string; sessionId: string } | undefined {
    const session = this.#sessions.session;
    return session?.id === undefined
      ? undefined
      : { managerAddr: session.managerAddr, sessionId: session.id };
  }

  get taskCount(): number {
    return this.#workings?.worker.activeTaskIds.length ?? 0;
  }

  /** Registers at once, so that the cluster knows this node is alive; opens its parts and adopts meanwhile. */
  async start(): Promise<void> {
    const known = this.options.storage.registration() !== undefined;
    if (known) this.#sessions.start();
    const { parts, worker, containers, streams } = await this.#open();
    this.#rememberRegistration();
    const endings = [parts.images, parts.bridge].map((part) => part?.onChange(() => this.#describeAgain()));
    this.#unsubscribe = () => {
      for (const end of endings) end?.();
    };
    if (known) this.#describeAgain();
    else this.#sessions.start();
    await worker.recover();
    await parts.recovered();
    this.#recovered = true;
    for (const status of worker.statuses()) this.#outbox.report(status);
    // Volumes first: a container that is there has its own.
    for (const state of parts.volumes?.states() ?? []) this.#outbox.reportVolume(state);
    for (const state of containers.states()) this.#outbox.reportContainer(state);
    const work = this.#waitingWork;
    this.#waitingWork = undefined;
    if (work) this.#apply(work);
    for (const request of this.#waitingStreams.splice(0)) streams.open(request);
  }

  /** Ends this agent. Containers live on, and the cluster is told to wait for the next one. */
  async stop(reason: string): Promise<void> {
    await this.#sessions.stop({ backWithinMs: RESTART_MS, reason });
    await this.#close();
  }

  /** Ends the session, and ends and removes every task. */
  async leave(): Promise<void> {
    await this.#sessions.stop({ backWithinMs: 0, reason: 'the node leaves the cluster' });
    await this.#workings?.worker.removeAll();
    await this.#close();
  }

  async #close(): Promise<void> {
    this.#stopping.abort(new DOMException('the agent stops', 'AbortError'));
    this.#unsubscribe();
    await this.#workings?.streams.close();
    await this.#workings?.worker.close();
  }

  async #open(): Promise<Workings> {
    const { directory, openParts, clock, logger, storage } = this.options;
    const parts = await openParts();
    parts.volumes?.reportTo(this.#identity.nodeId, this.#outbox);
    const containers = new Containers({
      runtime: parts.executor,
      storage: storage.containers,
      reporter: this.#outbox,
      clock,
      logger: logger.child({ module: 'containers' }),
    });
    const worker = new Worker({
      executor: parts.executor,
      plane: parts.plane,
      images: parts.images,
      containers,
      ...(parts.volumes ? { volumes: parts.volumes } : {}),
      storage,
      clock,
      logger: logger.child({ module: 'worker' }),
      reporter: {
        report: (status) => this.#outbox.report(status),
        forget: (taskId) => this.#outbox.forget(taskId),
      },
    });
    const streams = new SideStreams({
      credentials: () => directory.credentials(),
      dialledAt: (managerAddr) => dialledAt(this.options.ownManager, managerAddr),
      localSocket: (managerAddr) =>
        this.options.ownManager?.advertised === managerAddr ? this.options.localSocket : undefined,
      logs: parts.logs,
      images: parts.images,
      ...(parts.volumes ? { volumes: parts.volumes } : {}),
      containers: new ContainerStreams({
        containers,
        commit: parts.images.commit?.bind(parts.images),
        clock,
        logger: logger.child({ module: 'streams' }),
      }),
      clock,
      logger: logger.child({ module: 'streams' }),
    });
    this.#workings = { parts, worker, containers, streams };
    return this.#workings;
  }

  /** The manager next door first: it is here when the network is not. The others in any order. */
  #addrsToDial(): string[] {
    const own = this.options.ownManager;
    const others = this.#identity.managerAddrs.filter((addr) => addr !== own?.advertised);
    const shuffled = others
      .map((addr) => ({ addr, order: this.options.random.next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ addr }) => addr);
    return own ? [own.local, ...shuffled] : shuffled;
  }

  #register(): Register {
    const { addr, ownManager } = this.options;
    const { imageDigests } = this.#registration();
    return {
      description: this.#description(),
      addr,
      imageDigests,
      incarnation: this.#identity.incarnation,
      managerAddr: ownManager?.advertised ?? '',
    };
  }

  /** As things are or, while the parts are still being opened, as they were. */
  #registration(): Registration {
    const known = this.options.storage.registration() ?? { peerPort: 0, imageDigests: [], bridgeAddr: '' };
    const parts = this.#workings?.parts;
    if (!parts) return known;
    const bridgeAddr = parts.bridge?.addr || known.bridgeAddr;
    return { peerPort: parts.peerPort, imageDigests: [...parts.images.held()], bridgeAddr };
  }

  #description(): NodeDescription {
    const { peerPort, bridgeAddr } = this.#registration();
    return { ...this.options.describe(peerPort), bridgeAddr };
  }

  #rememberRegistration(): void {
    this.options.storage.putRegistration(this.#registration());
  }

  #describeAgain(): void {
    this.#rememberRegistration();
    const { imageDigests } = this.#registration();
    this.#sessions.session?.report({ description: this.#description(), imageDigests });
  }

  #openStream(request: StreamRequest): void {
    if (this.#recovered) this.#workings?.streams.open(request);
    // The asker gives up by itself; what waits here is bounded by what managers ask in the time of a start.
    else this.#waitingStreams.push(request);
  }

  #begin(welcome: Welcome): void {
    const { nodeId, clusterId, incarnation } = this.#identity;
    if (welcome.clusterId !== clusterId)
      throw new ClusterError(
        'failedPrecondition',
        `the manager is of cluster ${welcome.clusterId}, not of ${clusterId}`,
      );
    // A manager left over from before a recovery would undo what the cluster has done since.
    if (welcome.incarnation < incarnation)
      throw new ClusterError(
        'failedPrecondition',
        `the manager is of incarnation ${welcome.incarnation}, and incarnation ${incarnation} has been seen`,
      );
    if (welcome.incarnation > incarnation) this.#revision = 0;
    this.options.logger.info(
      { 'node.id': nodeId, 'session.id': welcome.sessionId },
      `session with ${this.#sessions.session?.managerAddr} begins`,
    );
    this.#learn({ incarnation: welcome.incarnation });
    this.#assignments = new AssignmentSet();
    this.#firstOfSession = true;
    this.#acknowledged = 0;
    const known = this.#recovered ? this.#workings : undefined;
    this.#outbox.begin(
      known?.worker.statuses() ?? [],
      () => this.#sessions.session?.sendStatuses(),
      known?.containers.states(),
      known?.parts.volumes?.states(),
    );
  }

  #take(assignments: Assignments): void {
    if (assignments.full && assignments.revision < this.#revision)
      // A manager whose cache lags would have us stop what another one has just started here.
      throw new ClusterError(
        'aborted',
        `the manager's assignments are of revision ${assignments.revision}, and ${this.#revision} has been applied`,
      );
    const work = this.#assignments.add(assignments);
    if (!work) return;
    this.#revision = Math.max(this.#revision, assignments.revision);
    if (this.#recovered) this.#apply(work);
    else this.#waitingWork = work;
  }

  #apply(work: AssignedWork): void {
    const session = this.#sessions.session;
    const worker = this.#workings?.worker;
    if (!worker) return;
    worker.apply(work, this.#firstOfSession);
    this.#firstOfSession = false;
    worker.settled(this.#stopping.signal).then(
      () => {
        if (session !== this.#sessions.session || work.sequence <= this.#acknowledged) return;
        this.#acknowledged = work.sequence;
        session?.acknowledge(work.sequence);
      },
      () => undefined,
    );
  }

  /** Keeps what the cluster has told, for the next start. */
  #learn(part: Partial<NodeIdentity>): void {
    if (part.managerAddrs?.length === 0) return;
    const next = { ...this.#identity, ...part };
    if (JSON.stringify(next) === JSON.stringify(this.#identity)) return;
    this.#identity = next;
    this.options.directory.writeIdentity(next);
  }
}
