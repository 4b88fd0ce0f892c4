import { ClusterError } from '@tessera/shared/errors';

// The key-value port: what the store needs of etcd, and no more. Two implementations, EtcdKv and
// MemoryKv, pass the one suite in contract.ts. Revisions, versions and limits are etcd's.

/** A key as it was at some revision. */
export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  /** Revision that made the key; a key deleted and put again gets a new one. */
  readonly createRevision: number;
  /** Revision of the key's last write. */
  readonly modRevision: number;
  /** Writes since the key was made, from 1. */
  readonly version: number;
  /** Lease the key dies with, or ''. */
  readonly lease: LeaseId;
}

/** An opaque lease id; '' is no lease. A string, since etcd's is a 64-bit number. */
export type LeaseId = string;

export interface RangeRequest {
  /** One key, or with `prefix` every key that begins with it. */
  readonly key: string;
  readonly prefix?: boolean;
  /** Read the state as of this revision; the latest when left out. @throws Compacted when it is gone */
  readonly revision?: number;
  /** At most this many keys, in ascending byte order; `more` says whether some were left out. */
  readonly limit?: number;
  /** With `prefix`: begin behind this key, to read a long list in pages at one revision. */
  readonly after?: string;
  /** Leave values out: their length is then 0. */
  readonly keysOnly?: boolean;
}
export interface RangeResult {
  /** Revision of the whole store when this was answered, never older than at the call (linearizable). */
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

/** Holds when the key's revision is exactly this; 0 means that the key does not exist. */
export interface Compare {
  readonly key: string;
  readonly target: 'modRevision' | 'createRevision';
  readonly equals: number;
}
export type Op =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: LeaseId }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'get'; readonly key: string; readonly revision?: number }
  | { readonly kind: 'txn'; readonly txn: Txn };

/**
 * All or nothing, at one revision. Compares, those of nested transactions too, see the state *before* the
 * outermost one: two nested transactions do not see each other's writes. No key may be put twice on one path.
 */
export interface Txn {
  readonly compares: readonly Compare[];
  readonly success: readonly Op[];
  readonly failure: readonly Op[];
}
export type OpResult =
  | { readonly kind: 'put' | 'delete' }
  | { readonly kind: 'get'; readonly kv: KeyValue | undefined }
  | { readonly kind: 'txn'; readonly result: TxnResult };
export interface TxnResult {
  /** The store's revision after this transaction: its own when it wrote something. */
  readonly revision: number;
  readonly succeeded: boolean;
  /** One per operation of the branch taken, in order. */
  readonly results: readonly OpResult[];
}

export type KvEvent =
  | { readonly kind: 'put'; readonly kv: KeyValue }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

export interface WatchHandler {
  /**
   * Every event of one revision under the prefix. Revisions ascend; none is left out. An implementation
   * never repeats one either, yet takers must bear it, as a test injects it.
   *
   * There is no notice of progress: etcd before 3.4.25 may send it ahead of the events it covers
   * (etcd#15220), so nothing here could rely on it.
   */
  onEvents(revision: number, events: readonly KvEvent[]): void;
  /** History from the next undelivered revision on was compacted. The watch has ended: list, then watch anew. */
  onCompacted(): void;
}
/** A watch under way. It reconnects by itself and goes on behind the last revision it delivered. */
export interface Watch {
  close(): void;
  /** Drops the connection's stream and takes up again: for a caller who knows that an event is overdue. */
  restart(): void;
}

export interface KvStatus {
  readonly revision: number;
  /** Bytes of the database file, free pages included. */
  readonly sizeBytes: number;
  /** Bytes of it in use. */
  readonly usedBytes: number;
  /** The quota was reached: no writes are taken until `clearSpaceAlarm`. */
  readonly outOfSpace: boolean;
}

/**
 * A key-value store with revisions, watches and leases.
 *
 * Every call may throw ClusterError `unavailable`: no answer came. A read was then not made; a write may
 * have been (its outcome is unknown) or may even still happen. `invalidArgument` and `resourceExhausted`
 * (quota) mean that nothing was written.
 */
export interface Kv {
  range(request: RangeRequest): Promise<RangeResult>;
  /** @throws ClusterError `invalidArgument` past TXN_OPS_MAX, or when a key is put twice */
  txn(txn: Txn): Promise<TxnResult>;
  /** Events under `prefix` from `fromRevision` on, that revision included. */
  watch(prefix: string, fromRevision: number, handler: WatchHandler): Watch;
  /** @param ttlMs rounded up to whole seconds; the store may lengthen it, and returns what it granted */
  grantLease(ttlMs: number): Promise<{ readonly id: LeaseId; readonly ttlMs: number }>;
  /** Restarts the lease's time. @returns its time to live @throws ClusterError `notFound` when it is gone */
  keepAlive(lease: LeaseId): Promise<{ readonly ttlMs: number }>;
  /** Ends the lease and deletes its keys, in one revision. Repeatable. */
  revokeLease(lease: LeaseId): Promise<void>;
  status(): Promise<KvStatus>;
  /** Forgets history up to and including `revision`: it can no longer be read or watched from. Repeatable. */
  compact(revision: number): Promise<void>;
  /** Gives the free pages of the member reached back to its file system; it answers nothing else meanwhile. */
  defragment(): Promise<void>;
  /** Lets writes in again once there is room. If there is none, the next write raises the alarm anew. */
  clearSpaceAlarm(): Promise<void>;
  close(): void;
}

/** History that was asked for has been compacted. */
export class Compacted extends ClusterError {
  constructor(what: string) {
    super('aborted', `${what}: the revision has been compacted`);
  }
}

/** etcd's default `--max-txn-ops`. */
export const TXN_OPS_MAX = 128;
/** etcd's default `--max-request-bytes`. */
export const REQUEST_BYTES_MAX = 1.5 * 2 ** 20;

/**
 * How much a transaction uses of TXN_OPS_MAX: the longest of its three lists and, below it, the costliest
 * nested transaction. So what counts is depth and the longest list, not the sum of all operations.
 *
 * Source: etcd 3.4, etcdserver/api/v3rpc/key.go, checkTxnRequest.
 */
export function txnCost({ compares, success, failure }: Txn): number {
  const own = Math.max(compares.length, success.length, failure.length);
  const nested = [...success, ...failure].map((op) => (op.kind === 'txn' ? txnCost(op.txn) : 0));
  return own + nested.reduce((most, cost) => Math.max(most, cost), 0);
}
