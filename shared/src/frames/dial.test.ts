import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../env/index.js';
import type { Frame } from '../gen/tessera/v1/dispatcher.js';
import { TestAuthority } from '../testing/certificates/index.js';
import { FakeClock } from '../testing/index.js';
import { dialFrames, FRAMES_PROTOCOL } from './dial.js';
import { FrameSocket } from './frame-socket.js';

const SERVER_NAME = 'tessera-manager';
const never = new AbortController().signal;

let authority: TestAuthority;
let server: Server;
const accepted: Socket[] = [];
beforeEach(async () => {
  authority = await TestAuthority.create();
});
afterEach(() => {
  for (const socket of accepted.splice(0)) socket.destroy();
  server.close();
});

async function serve(protocols = ['h2', FRAMES_PROTOCOL]): Promise<void> {
  const { keyPem: key, certPem: cert } = await authority.issue({ nodeId: 'node-m', role: 'manager' });
  server = createServer({ key, cert, ca: authority.caCertPem, requestCert: true, ALPNProtocols: protocols });
  server.on('connection', (socket: Socket) => accepted.push(socket.on('error', () => undefined)));
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}
async function dial(part: object = {}, signal = never): Promise<FrameSocket> {
  const { port } = server.address() as AddressInfo;
  const worker = await authority.issue({ nodeId: 'node-w', role: 'worker' });
  const identity = { ...worker, caCertPem: authority.caCertPem };
  const where = { host: '127.0.0.1', port, serverName: SERVER_NAME };
  return dialFrames({ ...where, identity, clock: systemClock, ...part }, signal);
}

test('a stream goes both ways over TLS, and each end ends it by itself', async () => {
  await serve();
  server.on('secureConnection', (socket) => {
    const stream = new FrameSocket(socket, { clock: systemClock });
    stream.on('data', (frame: Frame) => stream.write(frame));
    stream.on('end', () => stream.end());
  });

  const stream = await dial();
  const sent = Buffer.alloc(3_000_000, 'tessera');
  for (let at = 0; at < sent.length; at += 250_000)
    stream.write({ body: { $case: 'data', value: sent.subarray(at, at + 250_000) } });
  stream.end();

  const pieces: Uint8Array[] = [];
  for await (const { body } of stream as AsyncIterable<Frame>)
    if (body?.$case === 'data') pieces.push(body.value);
  expect(Buffer.concat(pieces).equals(sent)).toBe(true);
  expect(stream.isLocal).toBe(false);
});

test('a manager is known by its name, its authority and its protocol', async () => {
  await serve();
  const stranger = await TestAuthority.create();

  await expect(dial({ serverName: 'tessera-worker' })).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(dial({ identity: { caCertPem: stranger.caCertPem } })).rejects.toMatchObject({
    kind: 'unavailable',
  });
  server.close();
  await serve(['h2']);
  await expect(dial()).rejects.toMatchObject({ kind: 'unavailable' });
});

test('who does not answer is given up, at last and when told to', async () => {
  await serve();
  server.removeAllListeners('connection').on('connection', (socket: Socket) => accepted.push(socket));
  const clock = new FakeClock();
  const stop = new AbortController();

  const [silent, stopped] = [dial({ clock }), dial({}, stop.signal)];
  await expect.poll(() => accepted).toHaveLength(2);
  clock.advance(15_000);
  stop.abort(new Error('enough'));

  await expect(silent).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(stopped).rejects.toMatchObject({ kind: 'unavailable' });
});
