import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, systemClock } from '@tessera/shared/env';
import type { LogRecord, LogsRequest } from '@tessera/shared/wire';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openRig, type Rig } from '../testing/rig.js';
import { SegmentTaskLogs } from './segment-task-logs.js';

const aRequest = (part: Partial<LogsRequest> = {}): LogsRequest => ({
  taskIds: ['task'],
  follow: false,
  tail: -1,
  sinceSeconds: 0,
  sinceNanos: 0,
  untilSeconds: 0,
  untilNanos: 0,
  stdout: true,
  stderr: true,
  ...part,
});

const text = ({ line, partial }: LogRecord) => `${Buffer.from(line)}${partial ? '…' : ''}`;

async function all(records: AsyncIterable<LogRecord>): Promise<LogRecord[]> {
  const found = [];
  for await (const record of records) found.push(record);
  return found;
}

interface Written {
  readonly line: string;
  readonly seconds?: number;
  readonly stream?: number;
  readonly flags?: number;
}

/** A record as the shim writes it. */
function bytesOf({ line, seconds = 1, stream = 1, flags = 0 }: Written): Buffer {
  const payload = Buffer.from(line, 'latin1');
  const header = Buffer.alloc(16);
  header.writeUInt16LE(0x4754, 0);
  header.writeUInt8(stream, 2);
  header.writeUInt8(flags, 3);
  header.writeUInt32LE(payload.length, 4);
  header.writeBigUInt64LE(BigInt(seconds) * 1_000_000_000n + 5n, 8);
  return Buffer.concat([header, payload]);
}

describe('what is stored', () => {
  const { signal } = new AbortController();
  let dir: string;
  let logs: SegmentTaskLogs;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ts-core-logs-'));
    logs = new SegmentTaskLogs((id) => ({
      dataDir: join(dir, id),
      closed: Promise.resolve(),
      isClosed: true,
    }));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function segment(
    first: number,
    records: readonly Written[],
    rest: Buffer = Buffer.alloc(0),
    task = 'task',
  ): void {
    mkdirSync(join(dir, task, 'log'), { recursive: true });
    const name = first.toString(16).padStart(16, '0');
    writeFileSync(join(dir, task, 'log', name), Buffer.concat([...records.map(bytesOf), rest]));
  }
  const read = async (part: Partial<LogsRequest> = {}) =>
    (await all(logs.read(aRequest(part), signal))).map(text);

  test('a task that has written nothing, or is not known, has no records', async () => {
    expect(await read()).toEqual([]);
    expect(await read({ follow: true, tail: 3 })).toEqual([]);
  });

  test('segments are read in their order, streams as asked', async () => {
    segment(0, [{ line: 'a' }, { line: 'b', stream: 2 }]);
    segment(2, [{ line: 'c' }]);

    expect(await read()).toEqual(['a', 'b', 'c']);
    expect(await read({ stderr: false })).toEqual(['a', 'c']);
    expect(await read({ stdout: false })).toEqual(['b']);
  });

  test('since and until bound the time, to the nanosecond', async () => {
    segment(
      0,
      [1, 2, 3, 4].map((seconds) => ({ line: `${seconds}`, seconds })),
    );

    expect(await read({ sinceSeconds: 2, sinceNanos: 5 })).toEqual(['2', '3', '4']);
    expect(await read({ sinceSeconds: 2, sinceNanos: 6 })).toEqual(['3', '4']);
    expect(await read({ untilSeconds: 3, untilNanos: 5 })).toEqual(['1', '2', '3']);
    expect(await read({ sinceSeconds: 2, untilSeconds: 4 })).toEqual(['2', '3']);
  });

  test('tail counts lines, not pieces, across segments', async () => {
    segment(0, [{ line: 'a' }, { line: 'long', flags: 1 }]);
    segment(2, [{ line: 'er', flags: 1 }, { line: 'est' }, { line: 'z', stream: 2 }]);

    expect(await read({ tail: 0 })).toEqual([]);
    expect(await read({ tail: 1 })).toEqual(['z']);
    expect(await read({ tail: 1, stderr: false })).toEqual(['long…', 'er…', 'est']);
    expect(await read({ tail: 2 })).toEqual(['long…', 'er…', 'est', 'z']);
    expect(await read({ tail: 100 })).toEqual(['a', 'long…', 'er…', 'est', 'z']);
  });

  test('a segment that ends in half a record loses no other', async () => {
    segment(0, [{ line: 'a' }], bytesOf({ line: 'half' }).subarray(0, 18));
    segment(1, [{ line: 'b' }]);

    expect(await read()).toEqual(['a', 'b']);
  });

  test('records lost to a full disk are counted before the next one', async () => {
    segment(0, [{ line: 'a' }, { line: '\x07\0\0\0\0\0\0\0', flags: 2 }, { line: 'b' }]);

    const records = await all(logs.read(aRequest(), signal));

    expect(records.map(({ gap, line }) => [gap, String(line)])).toEqual([
      [0, 'a'],
      [7, 'b'],
    ]);
  });

  test('several tasks come in order of time', async () => {
    segment(
      0,
      [
        { line: 'a1', seconds: 1 },
        { line: 'a4', seconds: 4 },
      ],
      undefined,
      'a',
    );
    segment(
      0,
      [
        { line: 'b2', seconds: 2 },
        { line: 'b3', seconds: 3 },
      ],
      undefined,
      'b',
    );

    expect(await read({ taskIds: ['a', 'b', 'none'] })).toEqual(['a1', 'b2', 'b3', 'a4']);
  });
});

describe('what is being written', () => {
  const { signal } = new AbortController();
  let rig: Rig;
  beforeAll(async () => {
    rig = await openRig();
  });
  afterAll(async () => {
    await rig.close();
  });

  async function started(script: string, options: Record<string, string> = {}) {
    const task = rig.task(['sh', '-c', script], {}, { logDriver: { name: 'local', options } });
    const controller = rig.executor.controller(task);
    await controller.prepare(signal);
    await controller.start(signal);
    return { task, controller };
  }

  test('a follower that was there before the first line gets every line, and ends with the task', async () => {
    const { task, controller } = await started('sleep 0.2; for i in 1 2 3; do echo $i; sleep 0.05; done');

    const lines = (
      await all(rig.executor.logs.read(aRequest({ taskIds: [task.id], follow: true }), signal))
    ).map(text);

    expect(lines).toEqual(['1', '2', '3']);
    await controller.remove();
  });

  test('a follower ends when it is told to, though the task goes on', async () => {
    const { task, controller } = await started('echo one; sleep 1000');
    const stop = new AbortController();
    const seen: string[] = [];

    const following = (async () => {
      for await (const record of rig.executor.logs.read(
        aRequest({ taskIds: [task.id], follow: true }),
        stop.signal,
      )) {
        seen.push(text(record));
        stop.abort(new Error('enough'));
      }
    })();

    await expect(following).rejects.toThrow('enough');
    expect(seen).toEqual(['one']);
    await controller.remove();
  });

  test('rotation bounds what is kept; a reader it overtakes is told how much it missed', async () => {
    const { task, controller } = await started('seq 1 20000', { 'max-size': '16k', 'max-file': '3' });
    const iterator = rig.executor.logs
      .read(aRequest({ taskIds: [task.id], follow: true }), signal)
      [Symbol.asyncIterator]();
    const first = (await iterator.next()).value!;
    await controller.wait(signal);

    const rest: LogRecord[] = [first];
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) rest.push(next.value);

    const missed = rest.reduce((sum, { gap }) => sum + gap, 0);
    expect(Number(text(rest.at(-1)!))).toBe(20_000);
    expect(Number(text(first)) - 1 + rest.length + missed).toBe(20_000);
    const kept = await all(rig.executor.logs.read(aRequest({ taskIds: [task.id] }), signal));
    expect(kept.length).toBeLessThan(3 * ((17 * 1024) / 17));
    await controller.remove();
  });

  test('output as fast as it can be written is kept whole and in order', async () => {
    const { task, controller } = await started('yes 0123456789 | head -n 200000; echo end >&2');
    await controller.wait(signal);

    const records = await all(rig.executor.logs.read(aRequest({ taskIds: [task.id] }), signal));

    expect(records).toHaveLength(200_001);
    expect(records.slice(0, 200_000).every(({ line }) => String(line) === '0123456789')).toBe(true);
    expect(records.every(({ seconds }, i) => i === 0 || seconds >= records[i - 1]!.seconds)).toBe(true);
    await controller.remove();
  });

  test('a line longer than 16 KiB comes in pieces', async () => {
    const { task, controller } = await started('head -c 40000 /dev/zero | tr "\\\\0" x; echo; echo next');
    await controller.wait(signal);

    const records = await all(rig.executor.logs.read(aRequest({ taskIds: [task.id] }), signal));

    expect(records.map(({ line, partial }) => [line.length, partial])).toEqual([
      [16_384, true],
      [16_384, true],
      [7_232, false],
      [4, false],
    ]);
    await controller.remove();
  });

  test('a follower of a task that is removed ends', async () => {
    const { task, controller } = await started('echo here; sleep 1000');
    const following = all(rig.executor.logs.read(aRequest({ taskIds: [task.id], follow: true }), signal));
    await rig.logged(controller, 'here');
    await delay(systemClock, 20);

    await controller.remove();

    expect((await following).map(text)).toEqual(['here']);
  });
});
