import { fstatSync, mkdtempSync, readSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FrameSocket } from '@tessera/shared/frames';
import { ClientConnection, type Frame } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FrameStream } from './frame-stream.js';
import { withAnswerBody, withRequestBody } from './lent-connection.js';

type Body = NonNullable<Frame['body']>;

let directory: string;
const opened: { destroy(): void }[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-lent-'));
});
afterEach(() => {
  for (const each of opened.splice(0)) each.destroy();
  rmSync(directory, { recursive: true });
});

async function socketPair(name: string): Promise<[Socket, Socket]> {
  const path = join(directory, name);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const pair: [Socket, Socket] = [connect({ path, allowHalfOpen: true }), await accepted];
  server.close();
  opened.push(...pair);
  return pair;
}

/** The agent's stream, and the manager's end of it. */
async function streams(signal = new AbortController().signal) {
  const [near, far] = await socketPair('streams');
  const manager = new FrameSocket(far).on('error', () => undefined);
  const heard: Body[] = [];
  manager.on('data', ({ body }: Frame) => {
    if (body) heard.push(body);
  });
  return { manager, heard, stream: new FrameStream(new FrameSocket(near), 'stream-1', signal) };
}
const say = (manager: FrameSocket, body: Body) => manager.write({ body });
const answers = (heard: readonly Body[]) =>
  heard.flatMap((body) => (body.$case === 'connectionTaken' ? [body.value] : []));

async function clientsConnection(head = '') {
  const [client, accepted] = await socketPair('client');
  const { fd } = (accepted as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const value = { pid: process.pid, fd, inode: fstatSync(fd).ino, head: Buffer.from(head) };
  return { client, offer: { $case: 'connection', value: ClientConnection.fromPartial(value) } as const };
}

test("a request's body is where the manager says, and its connection is given back", async () => {
  const { manager, heard, stream } = await streams();
  const { client, offer } = await clientsConnection('head');
  client.write('rest');
  say(manager, offer);

  const read = await withRequestBody(stream, true, new AbortController(), async (input) => {
    if (!('connection' in input)) throw new Error('it comes by the stream');
    const rest = Buffer.alloc(4);
    await expect.poll(() => readNow(input.connection, rest)).toBe(4);
    input.close();
    return `${Buffer.from(input.head)} ${rest}`;
  });

  expect(read).toBe('head rest');
  await expect.poll(() => answers(heard)).toEqual([true, false]);
});

/** 0 while nothing is there. */
function readNow(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into);
  } catch {
    return 0;
  }
}

test('a connection that is another one by now is left alone, and the body comes by the stream', async () => {
  const { manager, heard, stream } = await streams();
  const { offer } = await clientsConnection();
  say(manager, { ...offer, value: { ...offer.value, inode: 1 } });
  say(manager, { $case: 'data', value: Buffer.from('by the stream') });
  say(manager, { $case: 'end', value: true });

  const read = await withRequestBody(stream, true, new AbortController(), async (input) => {
    let text = '';
    for await (const piece of input as AsyncIterable<Uint8Array>) text += Buffer.from(piece);
    return text;
  });

  expect(read).toBe('by the stream');
  await expect.poll(() => answers(heard)).toEqual([false]);
});

test('what a manager of another host says of descriptors is not acted upon', async () => {
  const { manager, stream } = await streams();
  const { offer } = await clientsConnection();
  // As a call by gRPC, which is no socket of this host's.
  Object.defineProperty(stream, 'isLocal', { value: false });
  say(manager, offer);
  say(manager, { $case: 'end', value: true });

  await withRequestBody(stream, true, new AbortController(), async (input) => {
    expect('connection' in input).toBe(false);
  });
});

test("an answer's body begins when the manager says so", async () => {
  const { manager, stream } = await streams();
  const { offer } = await clientsConnection();
  say(manager, offer);
  let hasBegun = false;

  const done = withAnswerBody(stream, true, new AbortController(), async (answer) => {
    await answer!.begin;
    hasBegun = true;
  });
  await new Promise(setImmediate);
  expect(hasBegun).toBe(false);
  say(manager, { $case: 'ready', value: true });

  await done;
});

test.each([
  ['before it has begun', false],
  ['after it has begun', true],
])('the end of the stream ends the work on an answer %s', async (_, begins) => {
  const { manager, stream } = await streams();
  const { offer } = await clientsConnection();
  const stop = new AbortController();
  say(manager, offer);
  if (begins) say(manager, { $case: 'ready', value: true });

  const done = withAnswerBody(
    stream,
    true,
    stop,
    () => new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve())),
  );
  manager.end();

  await done;
});

test('the death of the manager ends the work on a request', async () => {
  const { manager, stream } = await streams();
  const { offer } = await clientsConnection();
  const stop = new AbortController();
  say(manager, offer);

  const done = withRequestBody(
    stream,
    true,
    stop,
    () => new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve())),
  );
  await new Promise((resolve) => manager.once('data', resolve));
  manager.destroy();

  await done;
});
