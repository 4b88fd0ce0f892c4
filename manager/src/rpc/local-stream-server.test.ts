import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@tessera/shared/env';
import { notFound } from '@tessera/shared/errors';
import { FrameSocket } from '@tessera/shared/frames';
import type { Frame } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FrameStream } from '../streams/index.js';
import { LocalStreamServer } from './local-stream-server.js';

let directory: string;
let server: LocalStreamServer;
const accepted: { nodeId: string; streamId: string; stream: FrameStream }[] = [];
const offered: { nodeId: string; stream: FrameStream }[] = [];
beforeEach(async () => {
  accepted.length = 0;
  offered.length = 0;
  directory = mkdtempSync(join(tmpdir(), 'tessera-streams-'));
  server = await listening();
});
afterEach(() => {
  server.close();
  rmSync(directory, { recursive: true });
});

const path = () => join(directory, 'streams.sock');
async function listening(): Promise<LocalStreamServer> {
  const accept = (nodeId: string, streamId: string, stream: FrameStream) => {
    if (streamId !== 'asked-for') throw notFound('stream', streamId);
    accepted.push({ nodeId, streamId, stream });
  };
  const offer = (nodeId: string, stream: FrameStream) => void offered.push({ nodeId, stream });
  const options = { path: path(), broker: { accept, offer }, nodeId: 'node-1', logger: silentLogger };
  const started = new LocalStreamServer(options);
  await started.listen();
  return started;
}
function call(streamId: string): FrameSocket {
  const stream = new FrameSocket(connect(path()));
  stream.on('error', () => undefined);
  stream.write({ body: { $case: 'open', value: streamId } } satisfies Frame);
  return stream;
}

test("the agent's stream is this node's, and both sides speak on it", async () => {
  const stream = call('asked-for');
  await expect.poll(() => accepted.length).toBe(1);

  stream.write({ body: { $case: 'progress', value: 'up' } });
  accepted[0]!.stream.write({ body: { $case: 'progress', value: 'down' } });

  const first = async (from: AsyncIterable<Frame>) => {
    for await (const { body } of from) return body?.value;
  };
  expect(accepted[0]).toMatchObject({ nodeId: 'node-1', streamId: 'asked-for' });
  expect(await first(accepted[0]!.stream)).toBe('up');
  expect(statSync(path()).mode & 0o777).toBe(0o600);
});

test('a stream without an id waits for what is asked of this node', async () => {
  const stream = call('');

  await expect.poll(() => offered.length).toBe(1);
  expect(offered[0]!.nodeId).toBe('node-1');
  expect(accepted).toEqual([]);
  stream.destroy();
});

test('a stream that nobody asked for is broken off', async () => {
  const stream = call('made-up');

  await new Promise((resolve) => stream.resume().once('close', resolve));

  expect(accepted).toEqual([]);
});

test('a manager that comes takes the name from one that goes, and that one leaves it alone', async () => {
  const successor = await listening();
  server.close();

  call('asked-for');

  await expect.poll(() => accepted.length).toBe(1);
  successor.close();
});
