import { createSocket } from 'node:dgram';
import { closeSync } from 'node:fs';
import type { Server } from 'node:net';
import {
  changeNetwork,
  changeRules,
  dumpForwarding,
  dumpLinks,
  listRules,
  openNetns,
  openSocket,
} from '@tessera/native';
import { decode, encode } from 'dns-packet';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LabContainer, OverlayLab } from '../bench/overlay-lab.js';
import {
  aNetwork,
  anEndpoint,
  attach,
  aVirtualService,
  NAT_BRIDGE,
  openManager,
  sandboxOf,
} from '../bench/overlay-site.js';
import { addressesIn, askUdp, connect, greet, lookUp, serve, serveUdp } from '../bench/overlay-talk.js';
import { parseTable } from './balance.js';
import { KernelThread } from './kernel-thread.js';
import type { NetworkManager } from './network-manager.js';

// Two hosts as network namespaces, each with a network manager; containers are processes with a namespace.

let lab: OverlayLab;
let thread: KernelThread;
let managers: NetworkManager[];
let cleanups: (() => unknown)[];

beforeEach(async () => {
  lab = new OverlayLab(2);
  thread = new KernelThread();
  cleanups = [];
  managers = [];
  for (const host of lab.hosts) managers.push(await openManager(lab, host, thread));
});

afterEach(async () => {
  for (const cleanup of cleanups) await cleanup();
  await Promise.all(managers.map((manager) => manager.close()));
  await thread.close();
  await lab.close();
});

const [FIRST, SECOND] = [0, 1] as const;
const hostOf = (number: 0 | 1) => lab.hosts[number] as (typeof lab.hosts)[number];
const managerOf = (number: 0 | 1) => managers[number] as NetworkManager;
const shop = aNetwork(1, 'shop');

async function serving(container: LabContainer, port: number, greeting: string): Promise<Server> {
  const server = await serve(container, port, greeting);
  cleanups.push(() => server.close());
  return server;
}

const applyAll = (desired: Parameters<NetworkManager['apply']>[0]) =>
  Promise.all(managers.map((manager) => manager.apply(desired, 1)));

/** web with one replica on each host at .5 and .6, a client on the first host at .9. */
async function aShop() {
  const [one, two] = [anEndpoint(hostOf(FIRST), '10.0.1.5'), anEndpoint(hostOf(SECOND), '10.0.1.6')];
  const client = anEndpoint(hostOf(FIRST), '10.0.1.9', {
    serviceId: 'client',
    serviceName: 'client',
    aliases: [],
  });
  const desired = {
    networks: [shop],
    endpoints: [one, two, client],
    virtualServices: [aVirtualService('10.0.1.2')],
  };
  await applyAll(desired);
  const containers = {
    one: await lab.container(),
    two: await lab.container(),
    client: await lab.container(),
  };
  await attach(managerOf(FIRST), containers.one, [one]);
  await attach(managerOf(SECOND), containers.two, [two]);
  await attach(managerOf(FIRST), containers.client, [client]);
  await serving(containers.one, 80, 'one');
  await serving(containers.two, 80, 'two');
  return { desired, one, two, client, containers };
}

test('containers on two hosts reach each other by address, and the virtual address reaches each of them', async () => {
  const { containers } = await aShop();

  expect(await greet(containers.client, '10.0.1.5', 80)).toBe('one');
  expect(await greet(containers.client, '10.0.1.6', 80)).toBe('two');
  const seen = new Map<string, number>();
  for (let round = 0; round < 60; round++) {
    const greeting = await greet(containers.client, '10.0.1.2', 80);
    seen.set(greeting, (seen.get(greeting) ?? 0) + 1);
  }
  // 60 throws of a coin: fewer than 9 of one side happens once in a hundred million runs.
  expect(seen.get('one')).toBeGreaterThan(8);
  expect(seen.get('two')).toBeGreaterThan(8);
});

test('a task reaches its own service through the virtual address, itself included', async () => {
  const { containers } = await aShop();

  const seen = new Set<string>();
  for (let round = 0; round < 60 && seen.size < 2; round++)
    seen.add(await greet(containers.one, '10.0.1.2', 80));

  expect(seen).toEqual(new Set(['one', 'two']));
});

test('names are answered by UDP and TCP with what is ready, and with nothing of other networks', async () => {
  const { desired, two, containers } = await aShop();

  expect(addressesIn(await lookUp(containers.client, 'web'))).toEqual(['10.0.1.2']);
  expect(addressesIn(await lookUp(containers.client, 'WEB.shop', 'A', 'tcp'))).toEqual(['10.0.1.2']);
  expect(addressesIn(await lookUp(containers.client, 'tasks.web'))).toEqual(['10.0.1.5', '10.0.1.6']);
  const pointer = await lookUp(containers.client, '6.1.0.10.in-addr.arpa', 'PTR');
  expect(pointer.answers).toMatchObject([{ type: 'PTR', data: 'web.6.shop' }]);

  const other = aNetwork(7, 'secret');
  await applyAll({
    networks: [shop, other],
    endpoints: [
      ...desired.endpoints.map((endpoint) =>
        endpoint === two ? { ...endpoint, state: 'draining' as const } : endpoint,
      ),
      anEndpoint(hostOf(SECOND), '10.0.7.5', { serviceId: 'db', serviceName: 'db', aliases: ['db.1'] }),
    ],
    virtualServices: [
      ...desired.virtualServices,
      aVirtualService('10.0.7.2', { serviceId: 'db', serviceName: 'db' }),
    ],
  });

  expect(addressesIn(await lookUp(containers.client, 'tasks.web'))).toEqual(['10.0.1.5']);
  // Nobody upstream either: the question fails instead of being answered.
  expect(await lookUp(containers.client, 'db')).toMatchObject({ rcode: 'SERVFAIL', answers: [] });
  for (let round = 0; round < 20; round++) expect(await greet(containers.client, '10.0.1.2', 80)).toBe('one');
});

test('a removed endpoint loses its connections, TCP and UDP, and the virtual address its backend', async () => {
  const { desired, two, containers } = await aShop();
  cleanups.push(await serveUdp(containers.one, 53, 'one'), await serveUdp(containers.two, 53, 'two'));
  // Connections to the second replica through the virtual address, by both protocols.
  let [socket, greeting] = await connect(containers.client, '10.0.1.2', 80);
  for (let round = 0; greeting !== 'two' && round < 60; round++) {
    socket.destroy();
    [socket, greeting] = await connect(containers.client, '10.0.1.2', 80);
  }
  let port = 20_000;
  while ((await askUdp(containers.client, port, '10.0.1.2', 53)) !== 'two') port++;
  expect(greeting).toBe('two');
  const closed = new Promise((resolve) => socket.once('close', resolve));

  await applyAll({ ...desired, endpoints: desired.endpoints.filter((endpoint) => endpoint !== two) });

  // The same flow, known to the kernel, must not go on to where nobody is.
  expect(await askUdp(containers.client, port, '10.0.1.2', 53)).toBe('one');
  socket.on('error', () => {});
  socket.write('still there?');
  await closed;
  for (let round = 0; round < 20; round++) expect(await greet(containers.client, '10.0.1.2', 80)).toBe('one');

  await applyAll({ ...desired, endpoints: [] });
  await expect(greet(containers.client, '10.0.1.2', 80)).rejects.toThrow(/ECONNREFUSED/);
});

test('connections to a draining endpoint go on, new ones go elsewhere', async () => {
  const { desired, two, containers } = await aShop();
  let [socket, greeting] = await connect(containers.client, '10.0.1.2', 80);
  for (let round = 0; greeting !== 'two' && round < 60; round++) {
    socket.destroy();
    [socket, greeting] = await connect(containers.client, '10.0.1.2', 80);
  }
  cleanups.push(() => socket.destroy());

  const draining = desired.endpoints.map((endpoint) =>
    endpoint === two ? { ...endpoint, state: 'draining' as const } : endpoint,
  );
  await applyAll({ ...desired, endpoints: draining });

  for (let round = 0; round < 20; round++) expect(await greet(containers.client, '10.0.1.2', 80)).toBe('one');
  const echoed = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  socket.write('still there');
  expect(await echoed).toBe('still there');
});

test('a container that ended without a word is let go of: its namespace and links end', async () => {
  const { containers } = await aShop();
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));
  const ports = () => dumpLinks(fabric).filter(({ name }) => name.startsWith('tv-')).length;
  expect(ports()).toBe(2);

  await containers.client.end();
  await managerOf(FIRST).verify();

  // The kernel takes namespaces apart in its own time.
  await expect.poll(ports, { timeout: 20_000 }).toBe(1);
});

test('what somebody destroys is mended by the next verifying pass', async () => {
  const { containers } = await aShop();
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));
  const client = openNetns(containers.client.netns);
  cleanups.push(() => closeSync(client));

  changeNetwork([
    { kind: 'fdb-delete', name: 'vx-network-1', mac: '02:42:0a:00:01:06', to: '10.99.0.2', netns: fabric },
    { kind: 'neighbour-delete', name: 'vx-network-1', address: '10.0.1.6', netns: fabric },
    { kind: 'link-delete', name: 'br-network-1', netns: fabric },
    { kind: 'link-delete', name: NAT_BRIDGE, netns: hostOf(FIRST).fd },
  ]);
  changeRules(fabric, 'delete table bridge tessera');
  changeRules(client, 'delete table ip tessera');
  changeRules(hostOf(FIRST).fd, 'flush ruleset');
  await managerOf(FIRST).verify();

  expect(await greet(containers.client, '10.0.1.6', 80)).toBe('two');
  expect(await greet(containers.client, '10.0.1.2', 80)).toMatch(/one|two/);
  expect(addressesIn(await lookUp(containers.client, 'web'))).toEqual(['10.0.1.2']);
  await outsideGreets(containers.client);
});

test('a port or a VXLAN device that somebody deletes comes back', async () => {
  const { containers } = await aShop();
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));

  for (const { name } of dumpLinks(fabric).filter(({ kind }) => kind === 'veth' || kind === 'vxlan'))
    changeNetwork([{ kind: 'link-delete', name, netns: fabric }]);
  await managerOf(FIRST).verify();

  expect(await greet(containers.client, '10.0.1.5', 80)).toBe('one');
  expect(await greet(containers.client, '10.0.1.6', 80)).toBe('two');
});

test('a network that cannot be made does not hold up the others, and comes when it can', async () => {
  const taken = { vni: 4103, local: hostOf(FIRST).address, port: 4789, mtu: 1450, into: hostOf(FIRST).fd };
  changeNetwork([{ kind: 'vxlan', name: 'foreign', ...taken, netns: hostOf(FIRST).fd }]);
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));
  const devices = () =>
    dumpLinks(fabric)
      .filter(({ name }) => name.startsWith('vx-'))
      .map(({ name }) => name);

  await managerOf(FIRST).apply(
    { networks: [aNetwork(7, 'late'), shop], endpoints: [], virtualServices: [] },
    1,
  );
  expect(devices()).toEqual(['vx-network-1']);

  changeNetwork([{ kind: 'link-delete', name: 'foreign', netns: hostOf(FIRST).fd }]);
  const endpoint = anEndpoint(hostOf(FIRST), '10.0.7.5');
  await attach(managerOf(FIRST), await lab.container(), [endpoint]);
  expect(devices().sort()).toEqual(['vx-network-1', 'vx-network-7']);
});

test('a container is attached although somebody has just deleted its bridges', async () => {
  const { desired, containers } = await aShop();
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));
  changeNetwork([
    { kind: 'link-delete', name: 'br-network-1', netns: fabric },
    { kind: 'link-delete', name: NAT_BRIDGE, netns: hostOf(FIRST).fd },
  ]);

  const late = anEndpoint(hostOf(FIRST), '10.0.1.30', { serviceId: 'late', aliases: [] });
  const container = await lab.container();
  await attach(managerOf(FIRST), container, [late]);
  await managerOf(SECOND).apply({ ...desired, endpoints: [...desired.endpoints, late] }, 2);

  expect(await greet(container, '10.0.1.6', 80)).toBe('two');
  expect(await greet(containers.two, '10.0.1.5', 80)).toBe('one');
  await outsideGreets(container);
});

test('a container reaches the outside under its host’s address, and nobody outside reaches it', async () => {
  const container = await lab.container();
  await attach(managerOf(FIRST), container, []);

  expect(await outsideGreets(container)).toBe('10.99.0.1');
  const own = (await lab.exec(container.netns, 'cat', '/proc/net/fib_trie')).match(
    /172\.18\.\d+\.[2-9]\b/,
  )?.[0];
  expect(own).toBe('172.18.0.2');
});

/** Connects from the container to the outside; returns the address that is seen there. */
async function outsideGreets(container: LabContainer): Promise<string> {
  const outside = { pid: 0, netns: lab.outside, end: async () => {} };
  const seen: string[] = [];
  const server = await serve(outside, 8080, 'outside');
  server.on('connection', (socket) => seen.push(socket.remoteAddress ?? ''));
  try {
    expect(await greet(container, '10.99.0.254', 8080)).toBe('outside');
    return seen[0] ?? '';
  } finally {
    server.close();
  }
}

test('an internal network has no way to the outside, and its questions do not leave', async () => {
  const asked: string[] = [];
  const upstream = await fakeUpstream(asked);
  await managerOf(FIRST).close();
  managers[FIRST] = await openManager(lab, hostOf(FIRST), thread, [upstream]);
  const inner = aNetwork(3, 'inner', { internal: true });
  const [open, closed] = [anEndpoint(hostOf(FIRST), '10.0.1.5'), anEndpoint(hostOf(FIRST), '10.0.3.5')];
  await managerOf(FIRST).apply(
    { networks: [shop, inner], endpoints: [open, closed], virtualServices: [] },
    1,
  );
  const containers = [await lab.container(), await lab.container()] as const;
  await attach(managerOf(FIRST), containers[0], [open]);
  await attach(managerOf(FIRST), containers[1], [closed]);

  expect(addressesIn(await lookUp(containers[0], 'example.org'))).toEqual(['192.0.2.1']);
  expect(await lookUp(containers[1], 'example.com')).toMatchObject({ rcode: 'SERVFAIL' });
  expect(asked).toEqual(['example.org']);
  const netns = openNetns(containers[1].netns);
  cleanups.push(() => closeSync(netns));
  expect(
    dumpLinks(netns)
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['eth0', 'lo']);
});

/** A resolver at the outside that answers everything with 192.0.2.1. */
async function fakeUpstream(asked: string[]): Promise<{ host: string; port: number }> {
  const netns = openNetns(lab.outside);
  const { fd } = openSocket(netns, 'udp', { bind: '10.99.0.254', port: 53 });
  closeSync(netns);
  const socket = createSocket('udp4');
  socket.on('message', (message, from) => {
    const query = decode(message);
    const name = query.questions?.[0]?.name ?? '';
    asked.push(name);
    const answers = [{ type: 'A' as const, name, data: '192.0.2.1', ttl: 1 }];
    const reply = { type: 'response' as const, id: query.id ?? 0, questions: query.questions ?? [], answers };
    socket.send(encode(reply), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  cleanups.push(() => socket.close());
  return { host: '10.99.0.254', port: 53 };
}

test('the next agent adopts what lives on, connections included, and removes what nobody claims', async () => {
  const { desired, one, client, containers } = await aShop();
  const [socket] = await connect(containers.client, '10.0.1.6', 80);
  cleanups.push(() => socket.destroy());
  const fabric = openNetns(hostOf(FIRST).fabricPath);
  cleanups.push(() => closeSync(fabric));
  changeNetwork([
    { kind: 'bridge', name: 'br-9999', netns: fabric },
    { kind: 'fdb', name: 'vx-network-1', mac: '02:42:0a:00:01:63', to: '10.99.0.77', netns: fabric },
    {
      kind: 'veth',
      name: 'tn-leftover',
      peer: { name: 'tn-left-peer', netns: hostOf(FIRST).fd },
      netns: hostOf(FIRST).fd,
    },
  ]);
  await managerOf(FIRST).close();

  managers[FIRST] = await openManager(lab, hostOf(FIRST), thread);
  await managerOf(FIRST).apply(desired, 2);
  await managerOf(FIRST).verify();
  // Not adopted yet, and yet nothing of theirs has been touched.
  expect(await greet(containers.client, '10.0.1.5', 80)).toBe('one');
  await managerOf(FIRST).adopt([sandboxOf(containers.one, [one]), sandboxOf(containers.client, [client])]);
  await managerOf(FIRST).verify();

  expect(addressesIn(await lookUp(containers.client, 'web'))).toEqual(['10.0.1.2']);
  expect(addressesIn(await lookUp(containers.one, 'tasks.web', 'A', 'tcp'))).toEqual([
    '10.0.1.5',
    '10.0.1.6',
  ]);
  const echoed = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  socket.write('as before');
  expect(await echoed).toBe('as before');
  await outsideGreets(containers.client);
  const names = dumpLinks(fabric).map(({ name }) => name);
  expect(names).not.toContain('br-9999');
  expect(names.filter((name) => name.startsWith('tv-'))).toHaveLength(2);
  expect(dumpForwarding(fabric).some(({ mac }) => mac === '02:42:0a:00:01:63')).toBe(false);
  expect(dumpLinks(hostOf(FIRST).fd).some(({ name }) => name === 'tn-leftover')).toBe(false);
});

test('a query that is asked while no agent runs is answered by the next one', async () => {
  const { desired, client, containers } = await aShop();
  await managerOf(FIRST).close();

  // Nothing listens; a refusal would end the asker's attempt, as it ends a connected socket's.
  const answer = lookUp(containers.client, 'web', 'A', 'tcp');
  const datagram = lookUp(containers.client, 'tasks.web', 'A', 'udp', 30_053);
  managers[FIRST] = await openManager(lab, hostOf(FIRST), thread);
  await managerOf(FIRST).apply(desired, 2);
  await managerOf(FIRST).adopt([sandboxOf(containers.client, [client])]);

  expect(addressesIn(await lookUp(containers.client, 'web'))).toEqual(['10.0.1.2']);
  expect(addressesIn(await answer)).toEqual(['10.0.1.2']);
  expect(addressesIn(await datagram)).toEqual(['10.0.1.5', '10.0.1.6']);
});

test('a query is answered by the next agent although it cannot know the resolver’s ports of before', async () => {
  const { desired, client, containers } = await aShop();
  const netns = openNetns(containers.client.netns);
  cleanups.push(() => closeSync(netns));
  const port = parseTable(listRules(netns, 'list table ip tessera'))?.resolver?.udp;
  if (port === undefined) throw new Error('the table names no port of the resolver');
  await managerOf(FIRST).close();

  // A socket of the test's at the old port: once it has heard the question, the kernel remembers where it went.
  const { fd } = openSocket(netns, 'udp', { bind: '127.0.0.11', port });
  const program = createSocket('udp4');
  const heard = new Promise((resolve) => program.once('message', resolve));
  program.bind({ fd, exclusive: true });
  const answer = lookUp(containers.client, 'tasks.web', 'A', 'udp', 30_054);
  await heard;
  program.close();
  changeRules(netns, 'delete table ip tessera');
  managers[FIRST] = await openManager(lab, hostOf(FIRST), thread);
  await managerOf(FIRST).apply(desired, 2);
  await managerOf(FIRST).adopt([sandboxOf(containers.client, [client])]);

  expect(addressesIn(await answer)).toEqual(['10.0.1.5', '10.0.1.6']);
});

test('a container cannot speak under another’s address or MAC', async () => {
  const { containers } = await aShop();
  const netns = openNetns(containers.client.netns);
  cleanups.push(() => closeSync(netns));
  expect(await greet(containers.client, '10.0.1.5', 80)).toBe('one');

  // The address of a neighbour, from the container's own MAC.
  changeNetwork([
    { kind: 'address-delete', name: 'eth0', address: '10.0.1.9', prefix: 24, netns },
    { kind: 'address', name: 'eth0', address: '10.0.1.99', prefix: 24, netns },
  ]);
  await expect(quickly(greet(containers.client, '10.0.1.5', 80))).rejects.toThrow();

  // Its own address again, from another MAC.
  changeNetwork([
    { kind: 'address-delete', name: 'eth0', address: '10.0.1.99', prefix: 24, netns },
    { kind: 'address', name: 'eth0', address: '10.0.1.9', prefix: 24, netns },
    { kind: 'link', name: 'eth0', mac: '02:42:0a:00:01:06', netns },
  ]);
  await expect(quickly(greet(containers.client, '10.0.1.5', 80))).rejects.toThrow();

  changeNetwork([{ kind: 'link', name: 'eth0', mac: '02:42:0a:00:01:09', netns }]);
  expect(await greet(containers.client, '10.0.1.5', 80)).toBe('one');
});

const quickly = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      AbortSignal.timeout(1_000).onabort = () => reject(new Error('no answer within a second'));
    }),
  ]);

test('a network that goes takes its devices along, and its VNI can be used again', async () => {
  await aShop();
  const fabric = openNetns(hostOf(SECOND).fabricPath);
  cleanups.push(() => closeSync(fabric));

  await managerOf(SECOND).adopt([]);
  await managerOf(SECOND).apply({ networks: [], endpoints: [], virtualServices: [] }, 2);
  expect(dumpLinks(fabric).filter(({ kind }) => kind === 'bridge' || kind === 'vxlan')).toEqual([]);

  const next = aNetwork(1, 'next');
  await managerOf(SECOND).apply({ networks: [next], endpoints: [], virtualServices: [] }, 3);
  expect(dumpLinks(fabric).some(({ name }) => name === 'vx-network-1')).toBe(true);
});

test('the bridge is there before the first container, and its address is told of once', async () => {
  const manager = managerOf(FIRST);
  const told: string[] = [];
  manager.bridge.onChange(() => told.push(manager.bridge.addr));

  await manager.adopt([]);
  await manager.apply({ networks: [], endpoints: [], virtualServices: [] }, 1);
  await manager.verify();

  expect(told).toEqual([expect.stringMatching(/^172\.\d+\.0\.1\/20$/)]);
  const host = openNetns(hostOf(FIRST).netns);
  cleanups.push(() => closeSync(host));
  expect(dumpLinks(host).map(({ name }) => name)).toContain(NAT_BRIDGE);
});
