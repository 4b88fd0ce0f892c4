import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeFrame, FRAMES, type Frame, FrameDecoder } from './frames.js';
import { Shim } from './shim.js';

// A shim's socket served by this very process: what shims of other versions answer.

let dir: string;
let server: Server;
let sockets: Socket[];
let requests: Frame[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ts-shim-'));
  sockets = [];
  requests = [];
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A container that runs, whose shim speaks `protocol`. */
async function serve(protocol: number): Promise<void> {
  const state = Buffer.alloc(20);
  state.writeUInt32LE(2, 0);
  state.writeUInt32LE(4711, 4);
  state.writeBigUInt64LE(ownStartTime(), 8);
  state.writeUInt32LE(protocol, 16);
  server = createServer((socket) => {
    const decoder = new FrameDecoder();
    sockets.push(socket);
    socket.on('data', (chunk) => {
      for (const frame of decoder.push(chunk)) {
        requests.push(frame);
        const isState = frame.type === FRAMES.SUBSCRIBE || frame.type === FRAMES.STATUS;
        socket.write(encodeFrame(isState ? FRAMES.STATE : FRAMES.OK, frame.id, isState ? state : undefined));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'shim.sock'), resolve));
}

const ownStartTime = (): bigint => {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  return BigInt(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!);
};

test('a shim of version 1 is adopted; what it lacks is refused in clear words, what it has works', async () => {
  await serve(1);
  const { shim, state } = await Shim.connect(dir, new AbortController().signal);
  await shim.signal(15);

  expect(state).toEqual({ state: 'running', pid: 4711 });
  expect(() => shim.require('attach')).toThrow(
    /attach: the container was started by an earlier version .* restart the container/,
  );
  expect(requests.at(-1)).toMatchObject({ type: FRAMES.SIGNAL, payload: Buffer.from([15, 0, 0, 0]) });
  shim.release();
});

test('a shim of version 2 can be attached to; one of a later version is not understood', async () => {
  await serve(2);
  const { shim } = await Shim.connect(dir, new AbortController().signal);
  expect(() => shim.require('attach')).not.toThrow();
  shim.release();
  server.close();
  rmSync(join(dir, 'shim.sock'), { force: true });
  await serve(4);

  await expect(Shim.connect(dir, new AbortController().signal)).rejects.toThrow(
    'the shim speaks version 4 of its protocol',
  );
});
