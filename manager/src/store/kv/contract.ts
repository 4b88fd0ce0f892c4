import { afterEach, expect, test } from 'vitest';
import {
  type Compare,
  type Kv,
  type KvEvent,
  type Op,
  REQUEST_BYTES_MAX,
  type Txn,
  type Watch,
} from './kv.js';

export interface KvUnderTest {
  /** A client of the store; every one sees the same data. */
  connect(): Kv;
  /** Lets `timeMs` go by, as leases see it. */
  pass(timeMs: number): Promise<void>;
}

/**
 * What every key-value store must do: run on MemoryKv and on a real etcd, so that the one may stand in for the
 * other. Each test works under a prefix of its own.
 */
export function kvContract(open: () => KvUnderTest): void {
  let prefixCount = 0;
  const watches: Watch[] = [];
  afterEach(() => {
    for (const watch of watches.splice(0)) watch.close();
  });

  const arrange = () => {
    const store = open();
    const kv = store.connect();
    const prefix = `/contract/${++prefixCount}/`;
    return { kv, prefix, ...helpers(kv, prefix), pass: store.pass };
  };
  const follow = (kv: Kv, prefix: string, fromRevision: number) => {
    const seen = new Recorder();
    watches.push(kv.watch(prefix, fromRevision, seen));
    return seen;
  };

  test('a key carries the revisions of its making and last write, and counts its writes', async () => {
    const { kv, put, remove, key } = arrange();

    const made = await put('a', 'one');
    const changed = await put('a', 'two');
    const after = (await kv.range({ key: key('a') })).kvs[0];
    await remove('a');
    const again = await put('a', 'three');

    expect(after).toMatchObject({ createRevision: made, modRevision: changed, version: 2, lease: '' });
    expect(Buffer.from(after!.value).toString()).toBe('two');
    expect((await kv.range({ key: key('a') })).kvs[0]).toMatchObject({ createRevision: again, version: 1 });
  });

  test('a range lists a prefix in order, in pages at one revision', async () => {
    const { kv, prefix, put } = arrange();
    for (const name of ['c', 'a', 'b', 'd']) await put(name, name);

    const first = await kv.range({ key: prefix, prefix: true, limit: 2 });
    await put('aa', 'late');
    const { revision } = first;
    const rest = await kv.range({ key: prefix, prefix: true, after: first.kvs[1]!.key, revision });

    expect(first.more).toBe(true);
    expect(rest.more).toBe(false);
    expect([...first.kvs, ...rest.kvs].map((kv) => kv.key)).toEqual(
      ['a', 'b', 'c', 'd'].map((name) => prefix + name),
    );
  });

  test('a range reads the state of an older revision', async () => {
    const { kv, prefix, put, remove } = arrange();
    await put('a', 'one');
    const revision = await put('b', 'one');
    await put('a', 'two');
    await remove('b');
    await put('c', 'one');

    const then = await kv.range({ key: prefix, prefix: true, revision });

    expect(
      then.kvs.map(({ key, value }) => [key.slice(prefix.length), Buffer.from(value).toString()]),
    ).toEqual([
      ['a', 'one'],
      ['b', 'one'],
    ]);
  });

  test('keys without values are listed when asked for', async () => {
    const { kv, prefix, put } = arrange();
    await put('a', 'one');

    const { kvs } = await kv.range({ key: prefix, prefix: true, keysOnly: true });

    expect(kvs.map(({ key, value }) => [key, value.length])).toEqual([[`${prefix}a`, 0]]);
  });

  test('a transaction takes the branch its compares choose, at one revision', async () => {
    const { kv, put, key, putOp, get, absent, unchanged } = arrange();
    const made = await put('a', 'one');

    const held = await kv.txn({
      compares: [unchanged('a', made), absent('b')],
      success: [putOp('a', 'two'), putOp('b', 'two')],
      failure: [],
    });
    const lost = await kv.txn({
      compares: [unchanged('a', made)],
      success: [putOp('a', 'three')],
      failure: [get('a')],
    });

    expect(held.succeeded).toBe(true);
    const { kvs } = await kv.range({ key: key(''), prefix: true });
    expect(kvs.map(({ modRevision }) => modRevision)).toEqual([held.revision, held.revision]);
    expect(lost.succeeded).toBe(false);
    expect(lost.results[0]).toMatchObject({ kind: 'get', kv: { modRevision: held.revision } });
  });

  test('a key that is absent compares as revision 0, and a get of it finds nothing', async () => {
    const { kv, get, key } = arrange();

    const { succeeded, results } = await kv.txn({
      compares: [
        { key: key('x'), target: 'createRevision', equals: 0 },
        { key: key('x'), target: 'modRevision', equals: 0 },
      ],
      success: [get('x')],
      failure: [],
    });

    expect(succeeded).toBe(true);
    expect(results).toEqual([{ kind: 'get', kv: undefined }]);
  });

  test('a transaction that writes nothing makes no revision, nor does deleting what is not there', async () => {
    const { kv, put, remove, get } = arrange();
    const revision = await put('a', 'one');

    const read = await kv.txn({ compares: [], success: [get('a')], failure: [] });

    expect(read.revision).toBe(revision);
    expect(await remove('nothing')).toBe(revision);
  });

  test('nested transactions have outcomes of their own, judged on the state before all of them', async () => {
    const { kv, put, key, putOp, nested, absent, unchanged } = arrange();
    const made = await put('a', 'one');

    const { succeeded, results, revision } = await kv.txn({
      compares: [],
      success: [
        nested([unchanged('a', made)], [putOp('a', 'two')]),
        // Sees 'a' as it was, although the one before it has just overwritten it.
        nested([unchanged('a', made)], [putOp('b', 'one')]),
        nested([absent('a')], [putOp('c', 'one')]),
      ],
      failure: [],
    });

    expect(succeeded).toBe(true);
    expect(results.map((op) => op.kind === 'txn' && op.result.succeeded)).toEqual([true, true, false]);
    const { kvs } = await kv.range({ key: key(''), prefix: true });
    expect(kvs.map((kv) => [kv.key, kv.modRevision])).toEqual([
      [key('a'), revision],
      [key('b'), revision],
    ]);
  });

  const refused: Record<string, (h: ReturnType<typeof helpers>) => readonly Op[]> = {
    'one key put twice': ({ putOp }) => [putOp('a', '1'), putOp('a', '2')],
    'a key put and deleted': ({ putOp, deleteOp }) => [putOp('a', '1'), deleteOp('a')],
    'one key put in two nested transactions': ({ putOp, nested }) => [
      nested([], [putOp('a', '1')]),
      nested([], [putOp('a', '2')]),
    ],
    'a key deleted in one nested transaction and put in a later one': ({ putOp, deleteOp, nested }) => [
      nested([], [deleteOp('a')]),
      nested([], [putOp('a', '1')]),
    ],
  };
  for (const [what, ops] of Object.entries(refused)) {
    test(`a transaction with ${what} is refused as a whole`, async () => {
      const { kv, prefix, ...rest } = arrange();

      const committed = kv.txn({ compares: [], success: ops(rest), failure: [] });

      await expect(committed).rejects.toMatchObject({ kind: 'invalidArgument' });
      expect((await kv.range({ key: prefix, prefix: true })).kvs).toEqual([]);
    });
  }

  test('a transaction has at most 128 operations, and its compares count beside them', async () => {
    const { kv, putOp, absent } = arrange();
    const puts = (count: number, name: string) =>
      Array.from({ length: count }, (_, index) => putOp(`${name}${index}`, ''));
    const compares = (count: number) => Array.from({ length: count }, (_, index) => absent(`x${index}`));

    await kv.txn({ compares: compares(128), success: puts(128, 'a'), failure: [] });

    await expect(kv.txn({ compares: [], success: puts(129, 'b'), failure: [] })).rejects.toMatchObject({
      kind: 'invalidArgument',
    });
    await expect(kv.txn({ compares: compares(129), success: [], failure: [] })).rejects.toMatchObject({
      kind: 'invalidArgument',
    });
  });

  test('of nested transactions the number and the largest count, not the sum', async () => {
    const { kv, putOp, nested } = arrange();
    const batch = (count: number, size: number, name: string): Txn => ({
      compares: [],
      success: Array.from({ length: count }, (_, outer) =>
        nested(
          [],
          Array.from({ length: size }, (_, inner) => putOp(`${name}${outer}.${inner}`, '')),
        ),
      ),
      failure: [],
    });

    await kv.txn(batch(64, 64, 'a'));
    await kv.txn(batch(127, 1, 'b'));

    await expect(kv.txn(batch(64, 65, 'c'))).rejects.toMatchObject({ kind: 'invalidArgument' });
    await expect(kv.txn(batch(128, 1, 'd'))).rejects.toMatchObject({ kind: 'invalidArgument' });
  });

  test('a request past the bound on its size is refused', async () => {
    const { kv, key } = arrange();
    const value = Buffer.alloc(REQUEST_BYTES_MAX + 1);

    const committed = kv.txn({ compares: [], success: [{ kind: 'put', key: key('a'), value }], failure: [] });

    await expect(committed).rejects.toMatchObject({ kind: 'invalidArgument' });
  });

  test('a watch delivers each revision under its prefix once, in order, from the one asked for', async () => {
    const { kv, prefix, put, remove, putOp, key } = arrange();
    await put('before', '');
    const first = await put('a', 'one');
    const seen = follow(kv, prefix, first);
    await put('a', 'two');
    await kv.txn({
      compares: [],
      success: [{ kind: 'put', key: `/elsewhere${prefix}`, value: Buffer.from('') }],
      failure: [],
    });
    await kv.txn({ compares: [], success: [putOp('b', 'x'), putOp('c', 'x')], failure: [] });
    const last = await remove('a');

    await seen.until(last);

    const told = seen.revisions.map(({ events }) => events.map((event) => [event.kind, keyOf(event)]));
    expect(told).toEqual([
      [['put', key('a')]],
      [['put', key('a')]],
      [
        ['put', key('b')],
        ['put', key('c')],
      ],
      [['delete', key('a')]],
    ]);
    expect(seen.revisions[0]!.revision).toBe(first);
  });

  test('two watches are independent, and a closed one is silent', async () => {
    const { kv, prefix, put } = arrange();
    const start = await put('a', 'one');
    const kept = follow(kv, prefix, start);
    const closed = new Recorder();
    const watch = kv.watch(prefix, start, closed);
    await Promise.all([kept.until(start), closed.until(start)]);

    watch.close();
    await kept.until(await put('a', 'two'));

    expect(closed.revisions).toHaveLength(1);
  });

  test('a watch that is restarted neither skips nor repeats', async () => {
    const { kv, prefix, put } = arrange();
    const seen = new Recorder();
    const start = await put('a', '0');
    const watch = kv.watch(prefix, start, seen);
    watches.push(watch);

    let last = start;
    for (let count = 1; count <= 20; count++) {
      if (count % 3 === 0) watch.restart();
      last = await put('a', `${count}`);
    }
    await seen.until(last);

    const values = seen.revisions.map(({ events }) => events.map(textOf).join());
    expect(values).toEqual(Array.from({ length: 21 }, (_, index) => `${index}`));
  });

  test('history that was compacted can neither be watched nor read, what is later can', async () => {
    const { kv, prefix, put } = arrange();
    const old = await put('a', 'one');
    const kept = await put('a', 'two');
    await put('a', 'three');

    await kv.compact(kept);
    await kv.compact(kept);

    await expect(kv.range({ key: prefix, prefix: true, revision: old })).rejects.toMatchObject({
      kind: 'aborted',
    });
    const then = await kv.range({ key: prefix, prefix: true, revision: kept });
    expect(Buffer.from(then.kvs[0]!.value).toString()).toBe('two');
    const late = follow(kv, prefix, old);
    await late.untilCompacted();
    const fine = follow(kv, prefix, kept + 1);
    await fine.until(kept + 1);
    expect(late.revisions).toEqual([]);
  });

  test('keys die with their lease, in one revision', async () => {
    const { kv, prefix, putOp, get } = arrange();
    const { id } = await kv.grantLease(60_000);
    const { revision } = await kv.txn({
      compares: [],
      success: [putOp('a', '', id), putOp('b', '', id), putOp('c', '')],
      failure: [],
    });
    const seen = follow(kv, prefix, revision + 1);

    await kv.revokeLease(id);
    await kv.revokeLease(id);
    await seen.until(revision + 1);

    expect(seen.revisions[0]!.events.map(keyOf)).toEqual([`${prefix}a`, `${prefix}b`]);
    const { results } = await kv.txn({ compares: [], success: [get('a'), get('c')], failure: [] });
    expect(results.map((op) => op.kind === 'get' && op.kv !== undefined)).toEqual([false, true]);
  });

  test('a key put again without its lease outlives it', async () => {
    const { kv, key, put, putOp } = arrange();
    const { id } = await kv.grantLease(60_000);
    await kv.txn({ compares: [], success: [putOp('a', 'leased', id)], failure: [] });
    expect((await kv.range({ key: key('a') })).kvs[0]?.lease).toBe(id);

    await put('a', 'free');
    await kv.revokeLease(id);

    expect((await kv.range({ key: key('a') })).kvs).toHaveLength(1);
  });

  test('a lease ends when it is not kept alive, and lives when it is', async () => {
    const { kv, prefix, putOp, pass } = arrange();
    const dying = await kv.grantLease(2_000);
    const kept = await kv.grantLease(2_000);
    const { revision } = await kv.txn({
      compares: [],
      success: [putOp('dying', '', dying.id), putOp('kept', '', kept.id)],
      failure: [],
    });
    const seen = follow(kv, prefix, revision + 1);

    for (let beat = 0; beat < 100 && seen.revisions.length === 0; beat++) {
      await pass(dying.ttlMs / 8);
      expect((await kv.keepAlive(kept.id)).ttlMs).toBe(kept.ttlMs);
    }

    expect(seen.revisions.flatMap(({ events }) => events.map(keyOf))).toEqual([`${prefix}dying`]);
    await expect(kv.keepAlive(dying.id)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(
      kv.txn({ compares: [], success: [putOp('x', '', dying.id)], failure: [] }),
    ).rejects.toMatchObject({ kind: 'notFound' });
    await kv.revokeLease(kept.id);
  });

  test('of many who make one key at once, one does', async () => {
    const { kv, key, putOp, absent } = arrange();

    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        kv.txn({ compares: [absent('one')], success: [putOp('one', `${index}`)], failure: [] }),
      ),
    );

    const winner = outcomes.findIndex(({ succeeded }) => succeeded);
    expect(outcomes.filter(({ succeeded }) => succeeded)).toHaveLength(1);
    expect(Buffer.from((await kv.range({ key: key('one') })).kvs[0]!.value).toString()).toBe(`${winner}`);
  });

  test('status tells the revision and the size', async () => {
    const { kv, put } = arrange();
    const revision = await put('a', 'one');

    const status = await kv.status();

    expect(status.revision).toBe(revision);
    expect(status.sizeBytes).toBeGreaterThan(0);
    expect(status.usedBytes).toBeGreaterThan(0);
  });
}

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

const keyOf = (event: KvEvent): string => (event.kind === 'put' ? event.kv.key : event.key);
const textOf = (event: KvEvent): string =>
  event.kind === 'put' ? Buffer.from(event.kv.value).toString() : '';
