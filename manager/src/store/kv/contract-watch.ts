import { afterEach, expect, test } from 'vitest';
import { arrangeKv, type KvUnderTest, keyOf, Recorder, textOf } from './contract-support.js';
import type { Kv, Watch } from './kv.js';

/** Watches and leases. */
export function watchContract(open: () => KvUnderTest): void {
  const watches: Watch[] = [];
  afterEach(() => {
    for (const watch of watches.splice(0)) watch.close();
  });

  const arrange = () => arrangeKv(open());
  const follow = (kv: Kv, prefix: string, fromRevision: number) => {
    const seen = new Recorder();
    watches.push(kv.watch(prefix, fromRevision, seen));
    return seen;
  };

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
}
