import type { Clock, Logger } from '@tessera/shared/env';
import type { NodeStatus } from '@tessera/shared/model';
import { ReconcileLoop } from '@tessera/shared/reconcile';
import type { Change, Store, View } from '../store/view.js';
import { CountedTime } from './counted-time.js';
import { heartbeatOf } from './heartbeat.js';

/** Nodes that fall silent within a tick are judged together. */
const TICK_MS = 100;
const LATE_MS = 1_000;
/** A node that announced a restart and whose manager died with its session is waited for as long as it may ask. */
const RESTART_MAX_MS = 60_000;
/** Nodes that fall silent within this time are taken to have one cause. */
const OUTAGE_MS = 60_000;
/** Fewer than this many are no outage, however small the cluster. */
const OUTAGE_NODES_MIN = 3;

export interface NodeMonitorOptions {
  /** Fenced: a monitor that was paused and deposed writes nothing. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** True while silence proves nothing: the lease is unsure, or etcd without quorum. */
  readonly halted: () => boolean;
  readonly signal: AbortSignal;
}

/** A node that nobody hears, and for how long it may yet be so. */
interface Suspect {
  readonly dueAtMs: number;
  isDue: boolean;
}

/**
 * The leader's word on which nodes are down. A session's own manager says `disconnected` once it has been
 * silent for its grace time; where that manager died with it, the monitor counts the grace time itself.
 * After one of these it sets the node `down`, unless so many fall at once that the fault is likely elsewhere:
 * then it does so one node per grace time.
 */
export class NodeMonitor {
  readonly #suspects = new Map<string, Suspect>();
  readonly #time: CountedTime;
  readonly #loop: ReconcileLoop;
  /** Counted times at which nodes fell due, within OUTAGE_MS; by node, as one may do so twice. */
  readonly #fallen = new Map<string, number>();
  #pacedUntilMs = 0;
  #isPaced = false;

  constructor(private readonly options: NodeMonitorOptions) {
    const { store, clock, logger, halted, signal } = options;
    this.#time = new CountedTime(clock, {
      tickMs: TICK_MS,
      lateMs: LATE_MS,
      halted,
      onTick: () => this.#judge(),
    });
    this.#loop = new ReconcileLoop(this, clock, {
      concurrency: 32,
      retryMinMs: 100,
      retryMaxMs: 2_000,
      signal,
      onError: (nodeId, error) =>
        logger.warn({ 'node.id': nodeId, error }, 'node not set down, trying again'),
    });
    const unsubscribe = store.subscribe((changes, view) => this.#onChanges(changes, view));
    signal.addEventListener('abort', () => {
      this.#time.stop();
      unsubscribe();
    });
    for (const { id } of store.view().nodes.all()) this.#look(store.view(), id);
  }

  #onChanges(changes: readonly Change[], view: View): void {
    for (const { kind, id } of changes)
      if (kind === 'nodes' || kind === 'nodeStatuses' || kind === 'sessions') this.#look(view, id);
  }

  #look(view: View, nodeId: string): void {
    const status = view.nodeStatuses.get(nodeId);
    if (!view.nodes.get(nodeId) || !status || !isUnheard(view, status)) {
      this.#suspects.delete(nodeId);
      return;
    }
    // Nothing is due in a new leader's first grace time: agents of a manager that died need it to dial anew.
    const dueAtMs = Math.max(this.#time.now() + waitMsOf(view, status), graceMsOf(view));
    const known = this.#suspects.get(nodeId);
    // A shorter wait wins: `disconnected`, after the session was gone, says that the time is over.
    if (!known || (!known.isDue && dueAtMs < known.dueAtMs))
      this.#suspects.set(nodeId, { dueAtMs, isDue: false });
  }

  #judge(): void {
    const nowMs = this.#time.now();
    const { store } = this.options;
    const view = store.view();
    for (const [nodeId, suspect] of this.#suspects) {
      if (suspect.isDue || suspect.dueAtMs > nowMs) continue;
      suspect.isDue = true;
      this.#fallen.set(nodeId, nowMs);
    }
    for (const [nodeId, atMs] of this.#fallen) if (atMs < nowMs - OUTAGE_MS) this.#fallen.delete(nodeId);
    this.#setPace(view);
    for (const [nodeId, suspect] of this.#suspects) {
      if (!suspect.isDue) continue;
      if (this.#isPaced) {
        if (nowMs < this.#pacedUntilMs) break;
        this.#pacedUntilMs = nowMs + graceMsOf(view);
      }
      this.#loop.mark(nodeId);
    }
  }

  #setPace(view: View): void {
    const hasBegun = this.#fallen.size >= OUTAGE_NODES_MIN && this.#fallen.size * 3 > view.nodes.size;
    // Those that fell together stay paced to the last of them.
    const isOutage = hasBegun || (this.#isPaced && [...this.#suspects.values()].some(({ isDue }) => isDue));
    if (isOutage === this.#isPaced) return;
    this.#isPaced = isOutage;
    const fields = { silent: this.#fallen.size, nodes: view.nodes.size };
    if (isOutage)
      this.options.logger.error(
        fields,
        'over a third of the nodes fell silent within a minute: check the network and this manager; their tasks are replaced one node at a time',
      );
    else this.options.logger.info(fields, 'nodes no longer fall silent together');
  }

  /** Sets a node down if it still is unheard. Called by the loop. */
  async reconcile(nodeId: string): Promise<void> {
    const { store, clock, logger } = this.options;
    const before = await store.update((tx) => {
      const status = tx.nodeStatuses.get(nodeId);
      if (!tx.nodes.get(nodeId) || !status || !isUnheard(tx, status)) return undefined;
      if (!this.#suspects.get(nodeId)?.isDue) return undefined;
      // The session that would prove the contrary must still be absent.
      tx.require('sessions', nodeId);
      const message = status.message || 'heartbeat failure';
      tx.put('nodeStatuses', { ...status, state: 'down', message, stateSinceMs: clock.now() });
      return status;
    });
    if (before) logger.warn({ 'node.id': nodeId, from: before.state, to: 'down' }, 'node is down');
  }
}

/** Not down yet, and without a session: it is with no manager, or its manager has given it up. */
const isUnheard = (view: View, { nodeId, state }: NodeStatus): boolean =>
  state !== 'down' && state !== 'unknown' && (state === 'disconnected' || !view.sessions.get(nodeId));

function waitMsOf(view: View, { state }: NodeStatus): number {
  switch (state) {
    case 'disconnected':
      return 0;
    case 'restarting':
      return RESTART_MAX_MS;
    default:
      return graceMsOf(view);
  }
}

const graceMsOf = ({ cluster, nodes }: View): number => heartbeatOf(cluster?.spec, nodes.size).graceMs;
