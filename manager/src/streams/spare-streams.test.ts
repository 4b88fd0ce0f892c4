import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FrameSocket } from '@tessera/shared/frames';
import { type Frame, StreamRequest } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SpareStreams } from './spare-streams.js';

const NODE = 'node-1';
const REQUEST = StreamRequest.fromPartial({
  streamId: 'stream-1',
  kind: { $case: 'imageRemove', value: { imageId: 'sha256:a' } },
});

let directory: string;
let server: Server;
let spares: SpareStreams;
const offered: FrameSocket[] = [];
beforeEach(async () => {
  spares = new SpareStreams();
  offered.length = 0;
  directory = mkdtempSync(join(tmpdir(), 'tessera-spares-'));
  server = createServer((socket) => {
    const stream = new FrameSocket(socket);
    stream.on('error', () => undefined);
    offered.push(stream);
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'sock'), resolve));
});
afterEach(() => {
  server.close();
  for (const stream of offered) stream.destroy();
  rmSync(directory, { recursive: true });
});

/** The agent's end of a stream that has been offered. */
async function aSpare(): Promise<FrameSocket> {
  const before = offered.length;
  const agent = new FrameSocket(connect(join(directory, 'sock')));
  agent.on('error', () => undefined);
  await expect.poll(() => offered.length).toBe(before + 1);
  spares.offer(NODE, offered.at(-1)!);
  return agent;
}
async function first(stream: FrameSocket): Promise<Frame['body']> {
  for await (const { body } of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Frame>)
    return body;
  return undefined;
}
const never = () => {
  throw new Error('nothing was to be accepted');
};

test('what is asked comes on the stream that waits, and what its agent says follows the id', async () => {
  const agent = await aSpare();
  const accepted: [string, FrameSocket][] = [];

  const asked = spares.ask(NODE, REQUEST, (id, stream) => accepted.push([id, stream as FrameSocket]));
  asked?.catch(() => undefined);
  expect(await first(agent)).toEqual({ $case: 'request', value: REQUEST });
  agent.write({ body: { $case: 'open', value: 'stream-1' } });
  agent.write({ body: { $case: 'progress', value: 'done' } });

  await expect.poll(() => accepted).toEqual([['stream-1', offered[0]]]);
  expect(await first(offered[0]!)).toEqual({ $case: 'progress', value: 'done' });
  agent.destroy();
});

test('each is used once, and for its own node', async () => {
  const agent = await aSpare();

  expect(spares.ask('node-2', REQUEST, never)).toBeUndefined();
  spares.ask(NODE, REQUEST, never)?.catch(() => undefined);
  expect(spares.ask(NODE, REQUEST, never)).toBeUndefined();
  agent.destroy();
});

test('one whose agent has gone is not asked', async () => {
  const agent = await aSpare();

  agent.destroy();

  await expect.poll(() => offered[0]!.destroyed).toBe(true);
  expect(spares.ask(NODE, REQUEST, never)).toBeUndefined();
});

test('an agent that goes before it has given the id has not opened the stream', async () => {
  const agent = await aSpare();
  const asked = spares.ask(NODE, REQUEST, never);

  agent.destroy();

  await expect(asked).rejects.toMatchObject({ kind: 'unavailable' });
});

test('an agent that speaks before it is asked is hung up on', async () => {
  const agent = await aSpare();

  agent.write({ body: { $case: 'progress', value: 'well?' } });

  await expect.poll(() => offered[0]!.destroyed).toBe(true);
  expect(spares.ask(NODE, REQUEST, never)).toBeUndefined();
});

test('no more wait than could be of use', async () => {
  const agents: FrameSocket[] = [];
  for (let count = 0; count < 16; count++) agents.push(await aSpare());

  await expect(aSpare()).rejects.toMatchObject({ kind: 'resourceExhausted' });

  for (const agent of agents) agent.destroy();
});
