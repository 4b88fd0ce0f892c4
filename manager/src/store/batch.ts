import type { CacheEvent } from './cache.js';
import { type Compare, type Op, TXN_OPS_MAX, type Txn, txnCost } from './kv/kv.js';
import type { Change } from './transaction.js';

/**
 * Most bytes that share one request. Below etcd's 1.5 MiB, so that a batch never fails for its size; one
 * change alone may be larger and is then sent by itself.
 */
const BATCH_BYTES_MAX = 2 ** 20;
/** The outer transaction's operation beside the nested ones: the writer's mark. */
const MARK_OPS = 1;

/** Most compares or operations that one change may have, alone in its batch. */
export const CHANGE_OPS_MAX = TXN_OPS_MAX - MARK_OPS - 1;

/**
 * Changes that share one request: an outer transaction of nested ones, each with its own outcome.
 *
 * All compares are judged on the state before the request, so no change in it may write what another one
 * writes or compares. Their cost is etcd's: the number of nested transactions plus the largest of them.
 */
export class Batch<J> {
  readonly jobs: J[] = [];
  readonly changes: Change[] = [];
  readonly #written = new Set<string>();
  readonly #compared = new Set<string>();
  #largest = 0;
  #bytes = 0;

  get full(): boolean {
    return this.jobs.length + 1 + MARK_OPS + Math.max(this.#largest, 1) > TXN_OPS_MAX;
  }

  /** Takes the change in, or says that it must wait for another batch. */
  add(job: J, change: Change): boolean {
    const bytes = changeBytes(change);
    const largest = Math.max(this.#largest, txnCost(nested(change)));
    if (this.jobs.length > 0) {
      if (this.jobs.length + 1 + MARK_OPS + largest > TXN_OPS_MAX) return false;
      if (this.#bytes + bytes > BATCH_BYTES_MAX || this.#collides(change)) return false;
    }
    for (const op of change.ops) if (op.kind !== 'txn') this.#written.add(op.key);
    for (const { key } of change.compares) this.#compared.add(key);
    this.#largest = largest;
    this.#bytes += bytes;
    this.jobs.push(job);
    this.changes.push(change);
    return true;
  }

  /** @param mark what tells, after a lost answer, that this batch was committed */
  toTxn(compares: readonly Compare[], mark: Op, failure: readonly Op[]): Txn {
    const changes = this.changes.map((change): Op => ({ kind: 'txn', txn: nested(change) }));
    return { compares, success: [mark, ...changes], failure };
  }

  /** What committing it at `revision` did, as the watch will tell. */
  events(revision: number, committed: readonly boolean[]): CacheEvent[] {
    const ops = this.changes.flatMap((change, index) => (committed[index] ? change.ops : []));
    return ops.flatMap((op): CacheEvent[] => {
      switch (op.kind) {
        case 'put': {
          const { key, value, lease = '' } = op;
          return [{ kind: 'put', kv: { key, value, lease, modRevision: revision } }];
        }
        case 'delete':
          return [{ kind: 'delete', key: op.key }];
        default:
          return [];
      }
    });
  }

  #collides({ compares, ops }: Change): boolean {
    return (
      compares.some(({ key }) => this.#written.has(key)) ||
      ops.some((op) => op.kind !== 'txn' && (this.#written.has(op.key) || this.#compared.has(op.key)))
    );
  }
}

const nested = ({ compares, ops }: Change): Txn => ({ compares, success: ops, failure: [] });

function changeBytes({ compares, ops }: Change): number {
  let bytes = 0;
  for (const { key } of compares) bytes += key.length + 24;
  for (const op of ops)
    if (op.kind !== 'txn') bytes += op.key.length + 24 + (op.kind === 'put' ? op.value.length : 0);
  return bytes;
}
