import { type Clock, type Logger, newId, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { ContainerState } from '@tessera/shared/model';
import { ReconcileLoop } from '@tessera/shared/reconcile';
import type { AgentMessage, Goodbye, Register, StatusBatch, StreamRequest } from '@tessera/shared/wire';
import type { LeaderDecisions } from '../loops/decisions.js';
import type { Change, Store, Transaction, View } from '../store/view.js';
import { AssignmentFeed, ItemCache } from './assignment-feed.js';
import { AssignmentIndex } from './assignment-index.js';
import { CountedTime } from './counted-time.js';
import { heartbeatOf } from './heartbeat.js';
import { managerAddrs } from './manager-addrs.js';
import { ReportListeners } from './report-listeners.js';
import { Session } from './session.js';
import { StatusWriter } from './status-writer.js';
import type { SessionHandle, SessionTransport } from './transport.js';

const TICK_MS = 250;
const LATE_MS = 1_000;
/** The longest a node may ask to be waited for. */
const RESTART_MAX_MS = 60_000;
/** How long an agent may take to come back that closed its connection without a word, on a busy host. */
export const AGENT_RESTART_MS = 30_000;
const CONCURRENCY = 64;

export interface DispatcherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Node id of this manager. */
  readonly managerId: string;
  /** HOST:PORT at which agents and managers reach this one. */
  readonly managerAddr: string;
  /** True while silence proves nothing: this manager's lease is unsure, or etcd without quorum. */
  readonly halted: () => boolean;
  /** While this manager leads. */
  readonly decisions?: () => LeaderDecisions | undefined;
}

/** What became of an attempt to make the store agree with a session. */
type Standing = 'ours' | 'superseded' | 'removed' | 'gone';

/**
 * Serves agents: their sessions and heartbeats, their assignments, and the statuses they report. It knows
 * nothing of connections but `SessionTransport`.
 */
export class Dispatcher {
  readonly #sessions = new Map<string, Session>();
  readonly #items = new ItemCache();
  readonly #index: AssignmentIndex;
  readonly #statuses: StatusWriter;
  readonly #listeners = new ReportListeners();
  readonly #keeper: ReconcileLoop;
  readonly #time: CountedTime;
  readonly #stopping = new AbortController();
  readonly #unsubscribe: () => void;

  constructor(private readonly options: DispatcherOptions) {
    const { store, clock, logger, halted } = options;
    const { signal } = this.#stopping;
    this.#index = new AssignmentIndex(store.view(), {
      changed: (key) => this.#items.forget(key),
      markDirty: (nodeId, key) => this.#sessions.get(nodeId)?.feed?.mark(key),
    });
    this.#statuses = new StatusWriter({
      store,
      clock,
      logger,
      isCurrent: (session) => this.#isCurrent(session),
      decisions: options.decisions ?? (() => undefined),
      signal,
    });
    this.#keeper = new ReconcileLoop(this, clock, {
      concurrency: CONCURRENCY,
      retryMinMs: 100,
      retryMaxMs: 2_000,
      signal,
      onError: (nodeId, error) =>
        logger.warn({ 'node.id': nodeId, error }, 'session not stored, trying again'),
    });
    this.#time = new CountedTime(clock, {
      tickMs: TICK_MS,
      lateMs: LATE_MS,
      halted,
      onTick: () => this.#expireSilent(),
    });
    this.#unsubscribe = store.subscribe((changes, view) => this.#onChanges(changes, view));
  }

  /**
   * Begins a session for a node that has proved who it is. An earlier session of the node ends.
   *
   * @throws ClusterError `unavailable` while there is no cluster, `failedPrecondition` when the agent has
   *   seen a later incarnation of it
   */
  openSession(nodeId: string, register: Register, transport: SessionTransport): SessionHandle {
    const { cluster } = this.options.store.view();
    if (!cluster?.spec) throw new ClusterError('unavailable', 'this manager has no cluster yet');
    if (register.incarnation > cluster.incarnation)
      throw new ClusterError(
        'failedPrecondition',
        `this manager is of incarnation ${cluster.incarnation}, the node has seen ${register.incarnation}: it was recovered elsewhere`,
      );
    this.#replace(nodeId, register);
    const session = new Session({
      nodeId,
      sessionId: newId(this.options.random),
      register,
      transport,
      ...heartbeatOf(cluster.spec, this.#sessions.size + 1),
      nowMs: this.#time.now(),
    });
    this.#sessions.set(nodeId, session);
    this.#keeper.mark(nodeId);
    return {
      receive: (message) => this.#receive(session, message),
      drained: () => session.feed?.drained(),
      closed: () => this.#closed(session),
    };
  }

  /** Asks an agent for a side stream. False when its session is not here. */
  requestStream(nodeId: string, request: StreamRequest): boolean {
    const session = this.#sessions.get(nodeId);
    if (!session?.transport || session.phase !== 'live') return false;
    session.send({ $case: 'streamRequest', value: request });
    return true;
  }

  /** Ends every connection; the sessions' keys go with the lease, so that agents may go on elsewhere. */
  stop(): void {
    this.#stopping.abort();
    this.#time.stop();
    this.#unsubscribe();
    for (const session of this.#sessions.values())
      session.disconnect(new ClusterError('unavailable', 'this manager is stopping'));
    this.#sessions.clear();
  }

  /** Makes the store agree with the session of a node. Called by the loop. */
  async reconcile(nodeId: string): Promise<void> {
    const session = this.#sessions.get(nodeId);
    if (!session) return;
    const standing = await this.options.store.update((tx) => this.#stand(tx, session));
    if (!this.#isCurrent(session)) return;
    switch (standing) {
      case 'ours':
        this.#established(session);
        break;
      case 'superseded':
        this.#dismiss(session, 'the node has a newer session with another manager', false);
        break;
      case 'removed':
        this.#dismiss(session, 'the node has been removed from the cluster', true);
        break;
      case 'gone':
        this.#sessions.delete(nodeId);
        break;
    }
  }

  #stand(tx: Transaction, session: Session): Standing {
    const { nodeId, sessionId } = session;
    const { managerId, managerAddr, clock } = this.options;
    const held = tx.sessions.get(nodeId);
    const isOurs = held?.sessionId === sessionId;
    const before = tx.nodeStatuses.get(nodeId);
    if (!tx.nodes.get(nodeId)) {
      tx.delete('sessions', nodeId);
      tx.delete('nodeStatuses', nodeId);
      return 'removed';
    }
    if (session.phase === 'expired') {
      // A session that never got its key may still have replaced an earlier one of this manager.
      if (!isOurs && held?.managerId !== managerId) return 'gone';
      tx.delete('sessions', nodeId);
      tx.put('nodeStatuses', session.nodeStatus(before, clock.now()));
      return 'gone';
    }
    if (session.established && held && !isOurs) return 'superseded';
    tx.require('nodes', nodeId);
    tx.put('sessions', { nodeId, managerId, sessionId, managerAddr });
    tx.put('nodeStatuses', session.nodeStatus(before, clock.now()));
    return 'ours';
  }

  #established(session: Session): void {
    session.established = true;
    this.#statuses.unpark();
    if (session.phase !== 'opening') return;
    session.phase = session.transport ? 'live' : 'lost';
    session.heard(this.#time.now());
    if (session.transport) this.#welcome(session);
  }

  #welcome(session: Session): void {
    const { view } = this.#index;
    session.send({
      $case: 'welcome',
      value: {
        sessionId: session.sessionId,
        clusterId: view.cluster?.id ?? '',
        incarnation: view.cluster?.incarnation ?? 0,
        heartbeatPeriodMs: session.heartbeatPeriodMs,
        node: view.nodes.get(session.nodeId),
      },
    });
    this.#sendManagers(session);
    session.feed = new AssignmentFeed({
      nodeId: session.nodeId,
      clock: this.options.clock,
      index: this.#index,
      items: this.#items,
      send: (value) => session.send({ $case: 'assignments', value }),
    });
  }

  #receive(session: Session, { body }: AgentMessage): void {
    if (!this.#isCurrent(session) || session.phase === 'expired') return;
    session.heard(this.#time.now());
    switch (body?.$case) {
      case 'heartbeat':
        session.mainLoopLagMs = body.value.mainLoopLagMs;
        break;
      case 'ack':
        session.ackedSequence = Math.max(session.ackedSequence, body.value.sequence);
        break;
      case 'statuses':
        this.#takeStatuses(session, body.value);
        break;
      case 'report':
        session.report(body.value);
        this.#keeper.mark(session.nodeId);
        break;
      case 'goodbye':
        this.#goodbye(session, body.value);
        break;
      case 'register':
        this.#end(session, new ClusterError('invalidArgument', 'a session is registered once'));
        break;
    }
  }

  /** Hears what agents of this manager say of a container as it comes, before it is stored. */
  onReport(containerId: string, handler: (state: ContainerState) => void): () => void {
    return this.#listeners.add(containerId, handler);
  }

  #takeStatuses(session: Session, batch: StatusBatch): void {
    if (!this.#statuses.add(session, batch)) {
      this.#end(session, new ClusterError('resourceExhausted', 'too many statuses wait to be stored'));
      return;
    }
    for (const state of batch.containers)
      if (this.#index.view.containerPlacements.get(state.containerId)?.nodeId === session.nodeId)
        this.#listeners.tell(state);
  }

  #goodbye(session: Session, { backWithinMs, reason }: Goodbye): void {
    this.options.logger.info({ 'node.id': session.nodeId, reason, backWithinMs }, 'node says goodbye');
    if (backWithinMs <= 0) {
      this.#expire(session, reason);
      return;
    }
    session.sayGoodbye(Math.min(backWithinMs, RESTART_MAX_MS), reason);
    this.#keeper.mark(session.nodeId);
  }

  /**
   * Whoever closes a connection is alive, or its kernel is: the agent has died or is being replaced, and its
   * containers run on. A host that is gone says nothing at all.
   */
  #closed(session: Session): void {
    if (!session.transport) return;
    session.heard(this.#time.now());
    session.awaitAgent(AGENT_RESTART_MS);
    this.#end(session);
  }

  #end(session: Session, error?: ClusterError): void {
    session.disconnect(error);
    if (session.phase === 'live') session.phase = 'lost';
  }

  #replace(nodeId: string, register: Register): void {
    const previous = this.#sessions.get(nodeId);
    if (!previous?.transport) return;
    const bootId = register.description?.bootId ?? '';
    if (previous.bootId !== bootId)
      this.options.logger.warn({ 'node.id': nodeId }, 'two hosts seem to use the identity of one node');
    previous.disconnect(new ClusterError('aborted', 'the node has begun a newer session'));
  }

  #dismiss(session: Session, reason: string, removed: boolean): void {
    this.options.logger.info({ 'node.id': session.nodeId, reason }, 'session ends');
    session.send({ $case: 'dismiss', value: { reason, removed } });
    session.disconnect();
    this.#sessions.delete(session.nodeId);
  }

  #expireSilent(): void {
    const nowMs = this.#time.now();
    for (const session of this.#sessions.values()) {
      if (session.isOverdue(nowMs)) {
        this.options.logger.warn({ 'node.id': session.nodeId, phase: session.phase }, 'node is silent');
        this.#expire(session, 'heartbeat failure');
      } else if (session.isMissed(nowMs)) {
        session.missed();
        this.#keeper.mark(session.nodeId);
      }
    }
  }

  #expire(session: Session, reason: string): void {
    session.expire(reason);
    session.disconnect(new ClusterError('unavailable', `the session is over: ${reason}`));
    this.#keeper.mark(session.nodeId);
  }

  #onChanges(changes: readonly Change[], view: View): void {
    this.#index.apply(changes, view);
    let managersMayDiffer = false;
    for (const { kind, id, before, after } of changes) {
      // Whatever befell a session's key or its node's status, the loop looks and mends it.
      if (kind === 'sessions' || kind === 'nodes' || kind === 'nodeStatuses')
        if (this.#sessions.get(id)?.established) this.#keeper.mark(id);
      if (kind === 'nodes' || kind === 'nodeStatuses')
        managersMayDiffer ||= managerAddrOf(before) !== managerAddrOf(after) || !before || !after;
    }
    if (managersMayDiffer) for (const session of this.#sessions.values()) this.#sendManagers(session);
  }

  #sendManagers(session: Session): void {
    if (session.phase !== 'live') return;
    const addrs = managerAddrs(this.#index.view, this.options.managerAddr);
    if (session.managersSent === addrs.join()) return;
    session.managersSent = addrs.join();
    session.send({ $case: 'managers', value: { addrs } });
  }

  #isCurrent(session: Session): boolean {
    return this.#sessions.get(session.nodeId) === session;
  }
}

const managerAddrOf = (object: object | undefined): string =>
  (object as { managerAddr?: string } | undefined)?.managerAddr ?? '';
