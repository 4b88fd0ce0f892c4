import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Frame } from '../gen/tessera/v1/dispatcher.js';
import { FakeClock } from '../testing/index.js';
import { FrameSocket } from './frame-socket.js';

let directory: string;
let server: Server;
let near: Socket;
let far: Socket;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-frames-'));
  const path = join(directory, 's');
  const accepted = new Promise<Socket>((resolve) => {
    server = createServer(resolve);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  near = connect(path);
  far = await accepted;
});
afterEach(() => {
  near.destroy();
  far.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

/** The end of a test breaks what is still open. */
const framed = (socket: Socket) => new FrameSocket(socket).on('error', () => undefined);

const data = (bytes: Buffer): Frame => ({ body: { $case: 'data', value: bytes } });
const progress = (value: string): Frame => ({ body: { $case: 'progress', value } });

async function collect(stream: FrameSocket): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of stream.iterator({ destroyOnReturn: false })) frames.push(frame as Frame);
  return frames;
}

/** Frames as they were written, whatever pieces their bytes came in. */
function summary(frames: readonly Frame[]): string[] {
  const hash = createHash('sha256');
  const lines: string[] = [];
  for (const { body } of frames) {
    if (body?.$case === 'progress') lines.push(body.value);
    if (body?.$case === 'data') hash.update(body.value);
  }
  return [...lines, hash.digest('hex')];
}

test('frames of every size arrive whole and in order, and one side may end before the other', async () => {
  const [a, b] = [framed(near), framed(far)];
  const sent = [
    progress(''),
    data(randomBytes(300_000)),
    progress('x'.repeat(200_000)),
    data(Buffer.alloc(0)),
    data(randomBytes(1)),
    data(randomBytes(1_000_000)),
    progress('y'),
  ];

  for (const frame of sent) a.write(frame);
  a.end();
  expect(summary(await collect(b))).toEqual(summary(sent));
  b.end(progress('done'));

  expect(summary(await collect(a))[0]).toBe('done');
});

test('a message that comes byte by byte is one', async () => {
  const stream = framed(near);
  const bytes: Buffer[] = [];
  const fake = { on() {}, cork() {}, uncork() {}, write: (piece: Buffer) => bytes.push(piece) };
  await new Promise<void>((resolve) => new FrameSocket(fake as never).end(progress('hello'), resolve));

  for (const byte of Buffer.concat(bytes)) {
    far.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }

  expect(summary(await collect(stream))[0]).toBe('hello');
});

test('a slow reader slows the writer', async () => {
  const [a, b] = [framed(near), framed(far)];
  const total = 100;
  let taken = 0;
  const writing = (async () => {
    for (let count = 0; count < total; count++) {
      if (!a.write(data(Buffer.alloc(250_000)))) await new Promise((resolve) => a.once('drain', resolve));
      taken++;
    }
    a.end();
  })();
  await new Promise((resolve) => b.once('readable', resolve));
  const before = taken;

  const bytes = (await collect(b)).map(({ body }) => (body?.$case === 'data' ? body.value.length : 0));
  await writing;

  expect(bytes.reduce((sum, each) => sum + each, 0)).toBe(total * 250_000);
  expect(before).toBeLessThan(total / 2);
});

test.each([
  ['a frame too large to be one', Buffer.from('7fffffff00', 'hex'), /a frame with the head/],
  ['what is no frame', Buffer.from('00000002ffff', 'hex'), /no frame/],
  ['half of some data', Buffer.from('8000000a01', 'hex'), /connection .* broke/],
  ['half a frame', Buffer.from('0000000a01', 'hex'), /connection .* broke/],
  ['less than its end', Buffer.from('00000000', 'hex'), /connection .* broke/],
  ['an end with a length', Buffer.from('20000001', 'hex'), /a frame with the head/],
  ['a sign of life with a length', Buffer.from('40000001', 'hex'), /a frame with the head/],
  ['a frame behind the end', Buffer.from('2000000000000000', 'hex'), /a frame with the head/],
])('%s breaks the stream', async (_, bytes, message) => {
  const stream = framed(near);

  far.end(bytes);

  await expect(collect(stream)).rejects.toThrow(message);
});

test('a process that dies breaks the stream for the other', async () => {
  const stream = framed(near);

  far.destroy();

  await expect(collect(stream)).rejects.toMatchObject({ kind: 'unavailable' });
  expect(stream.writable).toBe(false);
});

test('what a process writes comes as it was written, each stream for itself, in order', async () => {
  const [a, b] = [framed(near), framed(far)];
  const output = (stderr: boolean, bytes: Buffer): Frame => ({
    body: { $case: 'output', value: { stderr, data: bytes } },
  });
  const sent: [boolean, Buffer][] = [
    [false, randomBytes(100_000)],
    [true, randomBytes(10)],
    [false, Buffer.alloc(0)],
    [true, randomBytes(70_000)],
    [false, randomBytes(1)],
  ];
  for (const [stderr, bytes] of sent) a.write(output(stderr, bytes));
  a.end();
  b.end();

  const runs: [boolean, Buffer][] = [];
  for (const { body } of await collect(b)) {
    if (body?.$case !== 'output') throw new Error(`a ${body?.$case} came`);
    const { stderr } = body.value;
    const data = Buffer.from(body.value.data);
    const last = runs.at(-1);
    if (last?.[0] === stderr) last[1] = Buffer.concat([last[1], data]);
    else runs.push([stderr, data]);
  }
  expect(runs.map(([stderr, bytes]) => [stderr, bytes.length])).toEqual([
    [false, 100_000],
    [true, 10],
    [false, 0],
    [true, 70_000],
    [false, 1],
  ]);
  expect(Buffer.concat(runs.map(([, bytes]) => bytes))).toEqual(
    Buffer.concat(sent.map(([, bytes]) => bytes)),
  );
});

test('a head of no known kind breaks the stream', async () => {
  const b = framed(far);
  near.write(Buffer.from([0xe0, 0, 0, 1, 0]));

  await expect(collect(b)).rejects.toMatchObject({ kind: 'internal' });
});

describe('a connection for one stream after the other', () => {
  /** The next stream of a connection that the last one has left. */
  function lasting(socket: Socket): { readonly first: FrameSocket; readonly next: Promise<FrameSocket> } {
    let first: FrameSocket | undefined;
    const next = new Promise<FrameSocket>((resolve) => {
      first = new FrameSocket(socket, { onFree: (free) => resolve(framed(free)) });
      first.on('error', () => undefined);
    });
    return { first: first!, next };
  }

  test('carries the next one once both ends have ended the last', async () => {
    const [a, b] = [lasting(near), lasting(far)];
    a.first.end(progress('one'));
    expect(summary(await collect(b.first))[0]).toBe('one');
    b.first.end(progress('answer'));
    expect(summary(await collect(a.first))[0]).toBe('answer');

    (await a.next).end(progress('two'));

    expect(summary(await collect(await b.next))[0]).toBe('two');
    expect(near.destroyed).toBe(false);
  });

  test('gives it what came in one piece with the end of the last', async () => {
    const b = lasting(far);
    b.first.end();
    await collectHeads(near, 1);
    const bytes: Buffer[] = [];
    const fake = { on() {}, cork() {}, uncork() {}, write: (piece: Buffer) => bytes.push(piece) };
    await new Promise<void>((resolve) => new FrameSocket(fake as never).end(resolve));
    await new Promise<void>((resolve) => new FrameSocket(fake as never).end(progress('two'), resolve));

    near.write(Buffer.concat(bytes));

    expect(summary(await collect(b.first))).toHaveLength(1);
    expect(summary(await collect(await b.next))[0]).toBe('two');
  });

  test('is closed where one end has no more use for it', async () => {
    const [a, b] = [lasting(near), framed(far)];
    a.first.end();
    b.end();
    await Promise.all([collect(a.first), collect(b)]);
    const next = await a.next;
    await new Promise((resolve) => next.once('close', resolve).resume());
    await expect.poll(() => far.destroyed).toBe(true);
  });
});

describe('a connection between hosts', () => {
  const between = (socket: Socket, clock: FakeClock) =>
    new FrameSocket(socket, { clock }).on('error', () => undefined);

  test('breaks when the other host is silent for ten seconds, not before', async () => {
    const clock = new FakeClock();
    const stream = between(near, clock);
    stream.write(progress('hello'));
    stream.resume();

    clock.advance(9_999);
    expect(stream.destroyed).toBe(false);
    const broken = new Promise((resolve) => stream.once('error', resolve));
    clock.advance(1);

    expect(await broken).toMatchObject({ kind: 'unavailable' });
  });

  test('lasts while each end says that it is there', async () => {
    const clocks = [new FakeClock(), new FakeClock()] as const;
    const [a, b] = [between(near, clocks[0]), between(far, clocks[1])];
    a.write(progress('hello'));
    await new Promise((resolve) => b.once('data', resolve));
    a.resume();
    for (let turn = 0; turn < 10; turn++) {
      for (const clock of clocks) {
        const heard = new Promise((resolve) => (clock === clocks[0] ? far : near).once('data', resolve));
        clock.advance(2_000);
        await heard;
      }
    }

    expect([a.destroyed, b.destroyed]).toEqual([false, false]);
  });

  test('is not judged by its silence while nobody takes what it says', async () => {
    const [clock, b] = [new FakeClock(), framed(far)];
    const a = between(near, clock);
    a.write(progress('hello'));
    const writing = (async () => {
      for (let count = 0; count < 100; count++)
        if (!b.write(data(Buffer.alloc(250_000)))) await new Promise((resolve) => b.once('drain', resolve));
      b.end();
    })();
    await new Promise((resolve) => a.once('readable', resolve));
    await expect.poll(() => near.isPaused()).toBe(true);
    clock.advance(60_000);
    a.end();

    const bytes = (await collect(a)).map(({ body }) => (body?.$case === 'data' ? body.value.length : 0));

    await writing;
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBe(100 * 250_000);
  });

  test('says nothing while no stream is under way', () => {
    const clock = new FakeClock();
    between(near, clock);

    expect(clock.nextAtMs()).toBeUndefined();
  });
});

/** Reads so many heads without a body. */
async function collectHeads(socket: Socket, count: number): Promise<void> {
  let length = 0;
  await new Promise<void>((resolve) => {
    const onData = (piece: Buffer) => {
      length += piece.length;
      if (length < count * 4) return;
      socket.off('data', onData);
      resolve();
    };
    socket.on('data', onData);
  });
}
