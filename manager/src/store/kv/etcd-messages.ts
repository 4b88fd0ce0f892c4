import type {
  ICompare,
  IKeyValue,
  IRangeRequest,
  IRequestOp,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
} from 'etcd3';
import type { Compare, KeyValue, Op, OpResult, RangeRequest, Txn, TxnResult } from './kv.js';

// The key-value port's words in etcd's. Every 64-bit number here stays below 2^53: revisions by nature, lease
// ids because EtcdKv chooses them.

const bytes = (text: string): Buffer => Buffer.from(text);

/** The end of the range of every key that begins with `prefix`: the prefix with its last byte one higher. */
export function prefixEnd(prefix: string): Buffer {
  const end = bytes(prefix);
  end[end.length - 1]! += 1;
  return end;
}

export function toRange({ key, prefix, revision, limit, after, keysOnly }: RangeRequest): IRangeRequest {
  return {
    // The smallest key behind `after` is the one with a zero byte more.
    key: after === undefined ? bytes(key) : bytes(`${after}\0`),
    ...(prefix && { range_end: prefixEnd(key) }),
    ...(revision && { revision }),
    ...(limit && { limit }),
    ...(keysOnly && { keys_only: true }),
  };
}

export const toTxn = ({ compares, success, failure }: Txn): ITxnRequest => ({
  compare: compares.map(toCompare),
  success: success.map(toOp),
  failure: failure.map(toOp),
});

const toCompare = ({ key, target, equals }: Compare): ICompare => ({
  key: bytes(key),
  result: 'Equal',
  ...(target === 'modRevision'
    ? { target: 'Mod', mod_revision: equals }
    : { target: 'Create', create_revision: equals }),
});

function toOp(op: Op): IRequestOp {
  switch (op.kind) {
    case 'put': {
      const { key, value, lease } = op;
      const put = { key: bytes(key), value: value as Buffer, ...(lease && { lease }) };
      return { request_put: put };
    }
    case 'delete':
      return { request_delete_range: { key: bytes(op.key) } };
    case 'get':
      return { request_range: toRange(op) };
    case 'txn':
      return { request_txn: toTxn(op.txn) };
  }
}

export const fromKv = (kv: IKeyValue): KeyValue => ({
  key: kv.key.toString(),
  value: kv.value,
  createRevision: Number(kv.create_revision),
  modRevision: Number(kv.mod_revision),
  version: Number(kv.version),
  lease: String(kv.lease) === '0' ? '' : String(kv.lease),
});

/** @param revision the outermost header's: those of nested transactions are empty */
export function fromTxn(
  { succeeded, responses }: ITxnResponse,
  { success, failure }: Txn,
  revision: number,
): TxnResult {
  const ops = succeeded ? success : failure;
  return { revision, succeeded, results: responses.map((op, index) => fromOp(op, ops[index]!, revision)) };
}

function fromOp(response: IResponseOp, op: Op, revision: number): OpResult {
  switch (op.kind) {
    case 'put':
    case 'delete':
      return { kind: op.kind };
    case 'get': {
      const kv = response.response_range.kvs[0];
      return { kind: 'get', kv: kv && fromKv(kv) };
    }
    case 'txn':
      return { kind: 'txn', result: fromTxn(response.response_txn, op.txn, revision) };
  }
}
