import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import {
  Compacted,
  type Compare,
  type KeyValue,
  type KvEvent,
  type LeaseId,
  type Op,
  type OpResult,
  type RangeRequest,
  type RangeResult,
  REQUEST_BYTES_MAX,
  TXN_OPS_MAX,
  type Txn,
  type TxnResult,
  txnCost,
} from './kv.js';

interface Lease {
  readonly ttlMs: number;
  readonly keys: Set<string>;
  cancelExpiry: () => void;
}
/** What happened in one revision, and what was there before, so that older states can be read. */
interface LogEntry {
  readonly revision: number;
  readonly events: readonly KvEvent[];
  readonly before: ReadonlyMap<string, KeyValue | undefined>;
}
export type RevisionListener = (revision: number, events: readonly KvEvent[]) => void;

/** Revisions kept for watches and old reads when nobody compacts; older ones count as compacted. */
const HISTORY_MAX = 20_000;

/** The data behind any number of MemoryKv clients: what an etcd server would hold. All calls are synchronous. */
export class MemoryEngine {
  // etcd's first revision is 1, and it belongs to the empty store.
  revision = 1;
  /** Revisions up to here can no longer be watched from; the one itself can still be read. */
  compactedRevision = 0;
  readonly #keys = new Map<string, KeyValue>();
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #listeners = new Set<RevisionListener>();
  #log: LogEntry[] = [];
  #leaseCount = 0;
  // Of the revision being written: events, and each key's state before.
  #events: KvEvent[] = [];
  #before = new Map<string, KeyValue | undefined>();

  constructor(private readonly clock: Clock) {}

  range({ key, prefix, revision, limit, after, keysOnly }: RangeRequest): RangeResult {
    const state = revision ? this.#stateAt(revision) : this.#keys;
    const keys = prefix
      ? [...state.keys()].filter((candidate) => candidate.startsWith(key) && candidate > (after ?? '')).sort()
      : [key].filter((candidate) => state.has(candidate));
    const kept = limit ? keys.slice(0, limit) : keys;
    const kvs = kept.map((name) => {
      const kv = state.get(name)!;
      return keysOnly ? { ...kv, value: new Uint8Array() } : kv;
    });
    return { revision: this.revision, kvs, more: kept.length < keys.length };
  }

  txn(txn: Txn): TxnResult {
    this.#check(txn);
    // As etcd does: every compare of the tree is judged before the first write.
    const path = this.#choose(txn);
    const results = this.#run(txn, path);
    this.#seal();
    return stamp(results, this.revision);
  }

  history(fromRevision: number): readonly LogEntry[] | 'compacted' {
    if (fromRevision <= this.compactedRevision) return 'compacted';
    return this.#log.filter((entry) => entry.revision >= fromRevision);
  }

  /** Calls `listener` for each revision that changed something, from now on, on the writer's stack. */
  listen(listener: RevisionListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  grantLease(ttlMs: number): { id: LeaseId; ttlMs: number } {
    const id = `${++this.#leaseCount}`;
    const granted = Math.ceil(ttlMs / 1000) * 1000;
    this.#leases.set(id, { ttlMs: granted, keys: new Set(), cancelExpiry: () => {} });
    this.keepAlive(id);
    return { id, ttlMs: granted };
  }

  keepAlive(id: LeaseId): { ttlMs: number } {
    const lease = this.#lease(id);
    lease.cancelExpiry();
    lease.cancelExpiry = this.clock.after(lease.ttlMs, () => this.revokeLease(id));
    return { ttlMs: lease.ttlMs };
  }

  revokeLease(id: LeaseId): void {
    const lease = this.#leases.get(id);
    if (!lease) return;
    lease.cancelExpiry();
    this.#leases.delete(id);
    for (const key of [...lease.keys].sort()) this.#delete(key);
    this.#seal();
  }

  compact(revision: number): void {
    if (revision <= this.compactedRevision) return;
    if (revision > this.revision)
      throw new ClusterError('invalidArgument', `compact to ${revision}: it is in the future`);
    this.compactedRevision = revision;
    this.#log = this.#log.filter((entry) => entry.revision > revision);
  }

  usedBytes(): number {
    let bytes = 0;
    for (const { key, value } of this.#keys.values()) bytes += key.length + value.length;
    return bytes;
  }

  #lease(id: LeaseId): Lease {
    const lease = this.#leases.get(id);
    if (!lease) throw new ClusterError('notFound', `lease ${id} not found`);
    return lease;
  }

  #stateAt(revision: number): ReadonlyMap<string, KeyValue> {
    if (revision > this.revision)
      throw new ClusterError('invalidArgument', `read at revision ${revision}: it is in the future`);
    if (revision < this.compactedRevision) throw new Compacted(`read at revision ${revision}`);
    const state = new Map(this.#keys);
    for (const entry of this.#log.toReversed()) {
      if (entry.revision <= revision) break;
      for (const [key, before] of entry.before) before ? state.set(key, before) : state.delete(key);
    }
    return state;
  }

  #check(txn: Txn): void {
    const cost = txnCost(txn);
    if (cost > TXN_OPS_MAX)
      throw new ClusterError('invalidArgument', `too many operations in a transaction: ${cost}`);
    if (txnBytes(txn) > REQUEST_BYTES_MAX) throw new ClusterError('invalidArgument', 'request is too large');
    checkWrites(txn);
    this.#checkLeases(txn);
  }

  #checkLeases({ success, failure }: Txn): void {
    for (const op of [...success, ...failure]) {
      if (op.kind === 'txn') this.#checkLeases(op.txn);
      if (op.kind === 'put' && op.lease) this.#lease(op.lease);
    }
  }

  /** For each transaction of the tree that will run, whether its compares hold. */
  #choose(txn: Txn, path = new Map<Txn, boolean>()): Map<Txn, boolean> {
    const holds = txn.compares.every((compare) => this.#holds(compare));
    path.set(txn, holds);
    for (const op of holds ? txn.success : txn.failure) if (op.kind === 'txn') this.#choose(op.txn, path);
    return path;
  }

  #holds({ key, target, equals }: Compare): boolean {
    return (this.#keys.get(key)?.[target] ?? 0) === equals;
  }

  #run(txn: Txn, path: ReadonlyMap<Txn, boolean>): TxnResult {
    const succeeded = path.get(txn)!;
    const results = (succeeded ? txn.success : txn.failure).map((op) => this.#runOp(op, path));
    return { revision: 0, succeeded, results };
  }

  #runOp(op: Op, path: ReadonlyMap<Txn, boolean>): OpResult {
    switch (op.kind) {
      case 'put':
        this.#put(op.key, op.value, op.lease ?? '');
        return { kind: 'put' };
      case 'delete':
        this.#delete(op.key);
        return { kind: 'delete' };
      case 'get':
        return { kind: 'get', kv: (op.revision ? this.#stateAt(op.revision) : this.#keys).get(op.key) };
      case 'txn':
        return { kind: 'txn', result: this.#run(op.txn, path) };
    }
  }

  #put(key: string, value: Uint8Array, lease: LeaseId): void {
    const old = this.#remember(key);
    if (old?.lease) this.#leases.get(old.lease)?.keys.delete(key);
    if (lease) this.#lease(lease).keys.add(key);
    const modRevision = this.revision + 1;
    const kv: KeyValue = {
      key,
      value: Uint8Array.from(value),
      createRevision: old?.createRevision ?? modRevision,
      modRevision,
      version: (old?.version ?? 0) + 1,
      lease,
    };
    this.#keys.set(key, kv);
    this.#events.push({ kind: 'put', kv });
  }

  #delete(key: string): void {
    if (!this.#keys.has(key)) return;
    const old = this.#remember(key);
    if (old?.lease) this.#leases.get(old.lease)?.keys.delete(key);
    this.#keys.delete(key);
    this.#events.push({ kind: 'delete', key, revision: this.revision + 1 });
  }

  #remember(key: string): KeyValue | undefined {
    const old = this.#keys.get(key);
    if (!this.#before.has(key)) this.#before.set(key, old);
    return old;
  }

  /** Makes what was written since the last call one revision. */
  #seal(): void {
    if (this.#events.length === 0) return;
    const entry: LogEntry = { revision: ++this.revision, events: this.#events, before: this.#before };
    this.#events = [];
    this.#before = new Map();
    this.#log.push(entry);
    // In halves, so that the cost of cutting is spread over many revisions.
    if (this.#log.length > 2 * HISTORY_MAX) this.compact(this.revision - HISTORY_MAX);
    for (const listener of [...this.#listeners]) listener(entry.revision, entry.events);
  }
}

const stamp = (result: TxnResult, revision: number): TxnResult => ({
  ...result,
  revision,
  results: result.results.map((op) =>
    op.kind === 'txn' ? { kind: 'txn', result: stamp(op.result, revision) } : op,
  ),
});

/** The keys that a path through the transaction may put or delete. Source: etcd's checkIntervals. */
function checkWrites(txn: Txn): { puts: Set<string>; deletes: Set<string> } {
  const branches = [txn.success, txn.failure].map((ops) => {
    const puts = new Set<string>();
    const deletes = new Set<string>();
    for (const op of ops) {
      if (op.kind === 'delete') deletes.add(op.key);
    }
    const add = (key: string) => {
      if (puts.has(key) || deletes.has(key))
        throw new ClusterError('invalidArgument', `duplicate key ${key} in one transaction`);
      puts.add(key);
    };
    for (const op of ops) {
      if (op.kind !== 'txn') continue;
      const nested = checkWrites(op.txn);
      for (const key of nested.puts) add(key);
      // Only puts behind them are compared with a nested transaction's deletes.
      for (const key of nested.deletes) deletes.add(key);
    }
    for (const op of ops) if (op.kind === 'put') add(op.key);
    return { puts, deletes };
  });
  return {
    puts: new Set(branches.flatMap((branch) => [...branch.puts])),
    deletes: new Set(branches.flatMap((branch) => [...branch.deletes])),
  };
}

/** About what the transaction takes on the wire. */
export function txnBytes({ compares, success, failure }: Txn): number {
  let bytes = 0;
  for (const compare of compares) bytes += compare.key.length + 16;
  for (const op of [...success, ...failure]) {
    if (op.kind === 'txn') bytes += txnBytes(op.txn) + 8;
    else bytes += op.key.length + (op.kind === 'put' ? op.value.length : 0) + 24;
  }
  return bytes;
}
