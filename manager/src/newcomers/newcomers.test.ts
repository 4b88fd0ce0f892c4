import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { FakeClock } from '@tessera/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Newcomers } from './index.js';

let clock: FakeClock;
let newcomers: Newcomers;
let server: Server;
const clients: Socket[] = [];
const ends = new Map<Socket, Promise<unknown>>();

beforeEach(async () => {
  clock = new FakeClock();
  newcomers = new Newcomers(clock, { withinMs: 1_000, atOnceMax: 4 });
  server = createServer((socket) => newcomers.watch(socket));
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  server.close();
  await once(server, 'close');
});

async function dial(from = '127.0.0.1'): Promise<Socket> {
  const came = once(server, 'connection');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, localAddress: from });
  client.on('error', () => {});
  clients.push(client);
  ends.set(client, once(client.resume(), 'close'));
  await Promise.all([came, once(client, 'connect')]);
  return client;
}

test('who says nothing is cut off in time, who is known stays', async () => {
  const [silent, known] = [await dial(), await dial()];
  newcomers.welcome('127.0.0.1', known.localPort!);
  clock.advance(1_000);
  await ends.get(silent);

  expect(known.destroyed).toBe(false);
  expect(newcomers.count).toBe(0);
});

test('too many from one address cost that address its oldest, and no other', async () => {
  const other = await dial('127.0.0.2');
  const flood = [];
  for (let i = 0; i < 6; i++) flood.push(await dial());
  await Promise.all(flood.slice(0, 3).map((each) => ends.get(each)));

  expect(newcomers.count).toBe(4);
  expect(other.destroyed).toBe(false);
  expect(flood.slice(3).some(({ destroyed }) => destroyed)).toBe(false);
});

test('one that goes by itself is forgotten', async () => {
  const client = await dial();
  const gone = new Promise<void>((resolve) => {
    const look = () => (newcomers.count === 0 ? resolve() : setImmediate(look));
    look();
  });
  client.destroy();
  await gone;

  expect(clock.nextAtMs()).toBeUndefined();
});
