import { expect, test } from 'vitest';
import { arrangeKv, type KvHelpers, type KvUnderTest } from './contract-support.js';
import { watchContract } from './contract-watch.js';
import { type Op, REQUEST_BYTES_MAX, type Txn } from './kv.js';

/**
 * What every key-value store must do: run on MemoryKv and on a real etcd, so that the one may stand in for the
 * other. Each test works under a prefix of its own.
 */
export function kvContract(open: () => KvUnderTest): void {
  watchContract(open);
  const arrange = () => arrangeKv(open());

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

  const refused: Record<string, (h: KvHelpers) => readonly Op[]> = {
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
