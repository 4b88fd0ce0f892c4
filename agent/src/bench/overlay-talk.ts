import { createSocket } from 'node:dgram';
import { closeSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { openNetns, openSocket } from '@tessera/native';
import { type DecodedPacket, decode, encode, type RecordType } from 'dns-packet';
import { frame } from '../network/dns/forwarder.js';
import type { LabContainer } from './overlay-lab.js';

/** For an answer that must come: an emulated machine takes ten times as long as this one. */
const PATIENCE_MS = 60_000;

// Programs that would run in containers, without containers: sockets of this process inside their namespaces.

function socketIn(
  container: LabContainer,
  ...rest: Parameters<typeof openSocket> extends [number, ...infer R] ? R : never
) {
  const netns = openNetns(container.netns);
  try {
    return openSocket(netns, ...rest);
  } finally {
    closeSync(netns);
  }
}

/** A TCP server that tells everyone who it is and waits for the other side to close. */
export async function serve(container: LabContainer, port: number, greeting: string): Promise<Server> {
  const { fd } = socketIn(container, 'tcp', { bind: '0.0.0.0', port });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`${greeting}\n`);
    socket.on('data', (data) => socket.write(data));
  });
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  return server;
}

/** A UDP server that answers who it is. */
export async function serveUdp(container: LabContainer, port: number, greeting: string): Promise<() => void> {
  const { fd } = socketIn(container, 'udp', { bind: '0.0.0.0', port });
  const socket = createSocket('udp4');
  socket.on('message', (_, from) => socket.send(greeting, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  return () => socket.close();
}

/** A connection from inside the container, with the server's greeting. */
export function connect(container: LabContainer, address: string, port: number): Promise<[Socket, string]> {
  return new Promise((resolve, reject) => {
    const { fd } = socketIn(container, 'tcp', { connect: address, port });
    const socket = new Socket({ fd });
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`no greeting from ${address}:${port}`)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`${address}:${port} closed the connection`)));
    socket.once('data', (data) => resolve([socket, data.toString().trim()]));
    // The connection was begun outside Node, which learns of it by the first write's success.
    socket.write('?');
  });
}

/** Whoever answers there. */
export async function greet(container: LabContainer, address: string, port: number): Promise<string> {
  const [socket, greeting] = await connect(container, address, port);
  socket.destroy();
  return greeting;
}

/** Asks by UDP from one fixed port, as many programs do. */
export function askUdp(
  container: LabContainer,
  from: number,
  address: string,
  port: number,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const { fd } = socketIn(container, 'udp', { bind: '0.0.0.0', port: from });
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    const finish = (outcome: () => void) => {
      socket.close();
      outcome();
    };
    timeout.onabort = () => finish(() => reject(new Error(`no answer from ${address}:${port}`)));
    socket.once('message', (message) => {
      timeout.onabort = null;
      finish(() => resolve(message.toString()));
    });
    socket.once('error', (error) => finish(() => reject(error)));
    socket.bind({ fd }, () => socket.send('?', port, address));
  });
}

/** A question to 127.0.0.11, as the container's own resolver library would send it. */
export function lookUp(
  container: LabContainer,
  name: string,
  type: RecordType = 'A',
  transport: 'udp' | 'tcp' = 'udp',
  /** The source port, where it matters. */
  port = 0,
): Promise<DecodedPacket & { readonly rcode: string }> {
  const query = encode({ type: 'query', id: 4711, flags: 0x100, questions: [{ type, name }] });
  return new Promise((resolve, reject) => {
    const done = (message: Buffer) => resolve(decode(message) as DecodedPacket & { rcode: string });
    if (transport === 'tcp') {
      const { fd } = socketIn(container, 'tcp', { connect: '127.0.0.11', port: 53 });
      const socket = new Socket({ fd });
      socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('no answer by TCP')));
      socket.once('error', reject);
      socket.once('data', (data) => {
        socket.destroy();
        done(data.subarray(2));
      });
      socket.write(frame(query));
      return;
    }
    const { fd } = socketIn(container, 'udp', { bind: '0.0.0.0', port });
    const socket = createSocket('udp4');
    socket.once('error', reject);
    // Again and again, as resolver libraries do, until somebody answers.
    const repeat = setInterval(() => socket.send(query, 53, '127.0.0.11'), 1_000);
    socket.once('message', (message) => {
      clearInterval(repeat);
      socket.close();
      done(message);
    });
    socket.bind({ fd }, () => socket.send(query, 53, '127.0.0.11'));
  });
}

export const addressesIn = ({ answers = [] }: DecodedPacket): string[] =>
  answers.flatMap((answer) => (answer.type === 'A' ? [answer.data] : [])).sort();
