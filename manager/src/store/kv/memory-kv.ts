import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type {
  Kv,
  KvEvent,
  KvStatus,
  LeaseId,
  RangeRequest,
  RangeResult,
  Txn,
  TxnResult,
  Watch,
  WatchHandler,
} from './kv.js';
import { MemoryEngine } from './memory-engine.js';

/**
 * What befalls one call: it is answered; done and its answer lost; refused before it was done; or it
 * waits until the client is thawed.
 */
export type CallFate = 'answer' | 'loseAnswer' | 'refuse';

/** The faults one client of a MemoryKv meets. Each may change at any time. */
export interface KvFaults {
  /** Asked for every call; `answer` when left out. */
  fate?: (call: keyof Kv) => CallFate;
  /** How late a revision reaches this client's watches; 0 (on a later promise job) when left out. */
  watchDelayMs?: () => number;
  /** Whether a revision is delivered a second time. */
  repeatEvents?: () => boolean;
}

/**
 * The key-value port in memory, with etcd's revisions, transactions, watches and leases.
 *
 * Leases run on the given clock; everything else happens in promise jobs, so that a test under a FakeClock
 * is repeatable. Several clients (`connect`) may share the data, each with its own faults.
 */
export class MemoryKv implements Kv {
  readonly faults: KvFaults;
  readonly #watches = new Set<MemoryWatch>();
  #thawed: Promise<void> | undefined;
  #thaw: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly clock: Clock,
    faults: KvFaults = {},
    private readonly engine = new MemoryEngine(clock),
  ) {
    this.faults = faults;
  }

  /** Another client of the same data, as a second manager has. */
  connect(faults: KvFaults = {}): MemoryKv {
    return new MemoryKv(this.clock, faults, this.engine);
  }

  /** From now on calls hang and watches stay silent, as with a stopped etcd, until `thaw`. */
  freeze(): void {
    this.#thawed ??= new Promise((resolve) => {
      this.#thaw = resolve;
    });
  }

  thaw(): void {
    this.#thaw?.();
    this.#thaw = undefined;
    this.#thawed = undefined;
    for (const watch of this.#watches) watch.wake();
  }

  get frozen(): boolean {
    return this.#thawed !== undefined;
  }

  range(request: RangeRequest): Promise<RangeResult> {
    return this.#call('range', () => this.engine.range(request));
  }

  txn(txn: Txn): Promise<TxnResult> {
    return this.#call('txn', () => this.engine.txn(txn));
  }

  watch(prefix: string, fromRevision: number, handler: WatchHandler): Watch {
    const watch = new MemoryWatch(this, this.engine, this.clock, prefix, fromRevision, handler);
    this.#watches.add(watch);
    return {
      close: () => {
        watch.close();
        this.#watches.delete(watch);
      },
      restart: () => {},
    };
  }

  grantLease(ttlMs: number) {
    return this.#call('grantLease', () => this.engine.grantLease(ttlMs));
  }

  keepAlive(lease: LeaseId) {
    return this.#call('keepAlive', () => this.engine.keepAlive(lease));
  }

  revokeLease(lease: LeaseId): Promise<void> {
    return this.#call('revokeLease', () => this.engine.revokeLease(lease));
  }

  status(): Promise<KvStatus> {
    return this.#call('status', () => {
      const usedBytes = this.engine.usedBytes();
      return { revision: this.engine.revision, sizeBytes: usedBytes, usedBytes, outOfSpace: false };
    });
  }

  compact(revision: number): Promise<void> {
    return this.#call('compact', () => this.engine.compact(revision));
  }

  defragment(): Promise<void> {
    return this.#call('defragment', () => {});
  }

  clearSpaceAlarm(): Promise<void> {
    return this.#call('clearSpaceAlarm', () => {});
  }

  close(): void {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
  }

  async #call<T>(name: keyof Kv, act: () => T): Promise<T> {
    while (this.#thawed) await this.#thawed;
    if (this.#closed) throw new ClusterError('unavailable', 'the store is closed');
    switch (this.faults.fate?.(name) ?? 'answer') {
      case 'answer':
        return act();
      case 'refuse':
        throw new ClusterError('unavailable', `${name}: the store is away`);
      case 'loseAnswer':
        act();
        throw new ClusterError('unavailable', `${name}: no answer from the store`);
    }
  }
}

/** Delivers revisions in order, each on a promise job of its own or after the delay its client asks for. */
class MemoryWatch {
  readonly #pending: { revision: number; events: readonly KvEvent[]; dueMs: number }[] = [];
  readonly #stopListening: () => void;
  #scheduled = false;
  #compacted = false;
  #closed = false;

  constructor(
    private readonly kv: MemoryKv,
    engine: MemoryEngine,
    private readonly clock: Clock,
    private readonly prefix: string,
    fromRevision: number,
    private readonly handler: WatchHandler,
  ) {
    const history = engine.history(fromRevision);
    if (history === 'compacted') this.#compacted = true;
    else for (const { revision, events } of history) this.#take(revision, events);
    this.#stopListening = engine.listen((revision, events) => {
      if (revision >= fromRevision) this.#take(revision, events);
    });
    this.wake();
  }

  close(): void {
    this.#closed = true;
    this.#stopListening();
  }

  wake(): void {
    if (this.#scheduled || this.#closed || this.kv.frozen) return;
    const next = this.#pending[0];
    if (!next && !this.#compacted) return;
    this.#scheduled = true;
    const waitMs = next ? next.dueMs - this.clock.monotonic() : 0;
    const run = () => {
      this.#scheduled = false;
      this.#deliver();
    };
    if (waitMs > 0) this.clock.after(waitMs, run);
    else queueMicrotask(run);
  }

  #take(revision: number, all: readonly KvEvent[]): void {
    const events = all.filter((event) => keyOf(event).startsWith(this.prefix));
    if (events.length === 0) return;
    const dueMs = this.clock.monotonic() + (this.kv.faults.watchDelayMs?.() ?? 0);
    this.#pending.push({ revision, events, dueMs });
    if (this.kv.faults.repeatEvents?.()) this.#pending.push({ revision, events, dueMs });
    this.wake();
  }

  #deliver(): void {
    if (this.#closed || this.kv.frozen) return;
    if (this.#compacted) {
      this.close();
      this.handler.onCompacted();
      return;
    }
    const next = this.#pending.shift();
    if (next) this.handler.onEvents(next.revision, next.events);
    this.wake();
  }
}

const keyOf = (event: KvEvent): string => (event.kind === 'put' ? event.kv.key : event.key);
