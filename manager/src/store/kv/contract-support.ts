import type { Compare, Kv, KvEvent, Op } from './kv.js';

export interface KvUnderTest {
  /** A client of the store; every one sees the same data. */
  connect(): Kv;
  /** Lets `timeMs` go by, as leases see it. */
  pass(timeMs: number): Promise<void>;
}

let prefixCount = 0;

/** A client, a prefix that no other test uses, and short words for what lies under it. */
export function arrangeKv(store: KvUnderTest) {
  const kv = store.connect();
  const prefix = `/contract/${++prefixCount}/`;
  return { kv, prefix, ...helpers(kv, prefix), pass: store.pass };
}
export type KvHelpers = ReturnType<typeof helpers>;

function helpers(kv: Kv, prefix: string) {
  const key = (name: string) => prefix + name;
  const putOp = (name: string, value: string, lease?: string): Op => ({
    kind: 'put',
    key: key(name),
    value: Buffer.from(value),
    ...(lease && { lease }),
  });
  const deleteOp = (name: string): Op => ({ kind: 'delete', key: key(name) });
  const commit = async (op: Op): Promise<number> =>
    (await kv.txn({ compares: [], success: [op], failure: [] })).revision;
  return {
    key,
    putOp,
    deleteOp,
    get: (name: string): Op => ({ kind: 'get', key: key(name) }),
    nested: (compares: readonly Compare[], success: readonly Op[]): Op => ({
      kind: 'txn',
      txn: { compares, success, failure: [] },
    }),
    absent: (name: string): Compare => ({ key: key(name), target: 'createRevision', equals: 0 }),
    unchanged: (name: string, equals: number): Compare => ({ key: key(name), target: 'modRevision', equals }),
    put: (name: string, value: string) => commit(putOp(name, value)),
    remove: (name: string) => commit(deleteOp(name)),
  };
}

/** Remembers what a watch delivered, and lets a test wait for it. */
export class Recorder {
  readonly revisions: { readonly revision: number; readonly events: readonly KvEvent[] }[] = [];
  #compacted = false;
  #waiters: (() => void)[] = [];

  onEvents(revision: number, events: readonly KvEvent[]): void {
    this.revisions.push({ revision, events });
    this.#wake();
  }

  onCompacted(): void {
    this.#compacted = true;
    this.#wake();
  }

  until(revision: number): Promise<void> {
    return this.#when(() => (this.revisions.at(-1)?.revision ?? 0) >= revision);
  }

  untilCompacted(): Promise<void> {
    return this.#when(() => this.#compacted);
  }

  async #when(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

export const keyOf = (event: KvEvent): string => (event.kind === 'put' ? event.kv.key : event.key);
export const textOf = (event: KvEvent): string =>
  event.kind === 'put' ? Buffer.from(event.kv.value).toString() : '';
