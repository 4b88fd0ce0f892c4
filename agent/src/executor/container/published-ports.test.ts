import { closeSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dumpLinks, dumpRoutes, listRules, openNetns, openSocket } from '@tessera/native';
import { delay, newHexId, systemClock, systemRandom } from '@tessera/shared/env';
import { Container, ContainerPlacement } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { type LabContainer, OverlayLab } from '../../bench/overlay-lab.js';
import { aNetwork, openManager } from '../../bench/overlay-site.js';
import { askUdp, greet, serve, serveUdp } from '../../bench/overlay-talk.js';
import { KernelThread } from '../../network/kernel-thread.js';
import type { NetworkManager } from '../../network/network-manager.js';
import { ContainerExecutor } from './container-executor.js';
import type { StandaloneContainer } from './standalone-container.js';
import { openRig, type Rig } from './testing/rig.js';

// Ports of a host that lead to containers, on a host that is a network namespace.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const { signal } = new AbortController();

let lab: OverlayLab;
let thread: KernelThread;
let network: NetworkManager;
let rig: Rig;
let made: StandaloneContainer[];
beforeEach(async () => {
  lab = new OverlayLab(1);
  thread = new KernelThread();
  network = await aManager();
  await network.adopt([]);
  rig = await openRig({ network });
  made = [];
});
afterEach(async () => {
  for (const container of made) await container.remove();
  await rig.close();
  await network.close();
  await thread.close();
  await lab.close();
});

const host = () => lab.hosts[0]!;

async function aManager(): Promise<NetworkManager> {
  const manager = await openManager(lab, host(), thread);
  await manager.apply({ networks: [aNetwork(1, 'shop')], endpoints: [], virtualServices: [] }, 1);
  return manager;
}

interface Publish {
  readonly protocol: string;
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}
const publish = (text: string): Publish => {
  const [hostIp = '', hostPort = '', port = '', protocol = 'tcp'] = text.split(/[:/]/);
  return { protocol, containerPort: Number(port), hostIp, hostPort: Number(hostPort) };
};

function assignment(ports: readonly string[], networkMode = 'default'): ContainerAssignment {
  const container = Container.fromPartial({
    id: newHexId(systemRandom),
    spec: { image: 'busybox', args: ['sleep', '1d'], stopGraceMs: 0 },
    host: { networkMode, resources: { memorySwappiness: -1 }, ports: ports.map(publish) },
  } as never);
  const placement = ContainerPlacement.create({ containerId: container.id, nodeId: 'n' });
  return { container, placement, volumes: [] };
}

async function start(asked: ContainerAssignment, executor = rig.executor): Promise<StandaloneContainer> {
  const container = executor.container(asked.container!.id);
  made.push(container);
  await container.create(asked, signal);
  await container.start(asked, signal);
  return container;
}

/** The namespace of a container, for sockets of the test's own. */
function inside(container: StandaloneContainer): LabContainer {
  const { life } = container;
  const pid = life.kind === 'running' ? life.pid : 0;
  return { pid, netns: `/proc/${pid}/ns/net` } as LabContainer;
}
const at = (netns: string): LabContainer => ({ pid: 0, netns }) as LabContainer;
const onHost = () => at(host().netns);
const outside = () => at(lab.outside);

/** Serves at the container's port 80, TCP and UDP, until the test is over. */
async function serveIn(container: StandaloneContainer, name: string): Promise<void> {
  const server = await serve(inside(container), 80, name);
  const stop = await serveUdp(inside(container), 80, name);
  onTestFinished(() => {
    server.close();
    stop();
  });
}

const elements = () => {
  const listing = listRules(host().fd, 'list table ip tessera-ts-nat0-ports');
  return listing.flatMap((object) =>
    'map' in object ? ((object.map as { elem?: unknown[] }).elem ?? []) : [],
  );
};

test('published ports lead to the container: from outside, from the host and its loopback, from another container', async () => {
  const container = await start(
    assignment(['0.0.0.0:18080:80', '127.0.0.1:18081:80', ':18053:80/udp', ':0:80']),
  );
  await serveIn(container, 'web');
  const random = container.facts.ports[3]!.hostPort;
  expect(container.facts.ports.map(({ hostIp, hostPort }) => `${hostIp}:${hostPort}`)).toEqual([
    '0.0.0.0:18080',
    '127.0.0.1:18081',
    '0.0.0.0:18053',
    `0.0.0.0:${random}`,
  ]);
  expect(random).toBeGreaterThanOrEqual(32_768);
  expect(container.facts.networks).toMatchObject([
    { networkId: 'bridge', addr: expect.stringMatching(/\/20$/) },
  ]);
  const address = host().address;

  expect(await greet(outside(), address, 18_080)).toBe('web');
  expect(await greet(outside(), address, random)).toBe('web');
  expect(await askUdp(outside(), 4_000, address, 18_053)).toBe('web');
  expect(await greet(onHost(), '127.0.0.1', 18_080)).toBe('web');
  expect(await greet(onHost(), '127.0.0.1', 18_081)).toBe('web');
  expect(await greet(onHost(), address, 18_080)).toBe('web');
  await expect(greet(onHost(), address, 18_081)).rejects.toThrow();
  await expect(greet(outside(), address, 18_081)).rejects.toThrow();

  const other = await start(assignment([]));
  expect(await greet(inside(other), address, 18_080)).toBe('web');
  const { addr } = container.facts.networks[0]!;
  expect(await greet(inside(other), addr.split('/')[0]!, 80)).toBe('web');
});

test('a port that is taken is refused in Docker’s words, and free again when its container has ended', async () => {
  const first = await start(assignment(['0.0.0.0:18080:80', ':18080:80/udp']));
  const second = assignment(['127.0.0.1:18080:80']);
  await expect(start(second)).rejects.toThrow('Bind for 127.0.0.1:18080 failed: port is already allocated');
  expect(rig.executor.container(second.container!.id).life.kind).toBe('created');
  expect(elements()).toHaveLength(2);

  await first.stop({ signal: 'KILL', timeoutMs: 1000 }, signal);
  await expect.poll(() => elements().length, { timeout: 30_000 }).toBe(0);
  await rig.executor.container(second.container!.id).start(second, signal);
  expect(elements()).toHaveLength(1);
});

test('a port of a program of the host is not taken from it', async () => {
  const { fd } = openSocket(host().fd, 'tcp', { bind: '0.0.0.0', port: 18_080 });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  onTestFinished(() => void server.close());
  await expect(start(assignment([':18080:80']))).rejects.toMatchObject({ kind: 'conflict' });
});

test('the next agent leads the same ports to the containers that live on', async () => {
  const asked = assignment([':0:80']);
  const container = await start(asked);
  await serveIn(container, 'web');
  const { hostPort } = container.facts.ports[0]!;
  await network.close();
  network = await aManager();
  const next = await ContainerExecutor.open({ ...rig.options, network });
  await next.recover(new Set([asked.container!.id]));
  made = [next.container(asked.container!.id)];

  expect(made[0]!.facts.ports).toMatchObject([{ hostPort, containerPort: 80 }]);
  expect(await greet(outside(), host().address, hostPort)).toBe('web');
  await expect(start(assignment([`:${hostPort}:80`]), next)).rejects.toThrow('already allocated');
});

test('without a network a container has a loopback and no way out; with the host’s it has the host’s', async () => {
  const alone = await start(assignment([], 'none'));
  const netns = openNetns(inside(alone).netns);
  onTestFinished(() => closeSync(netns));
  expect(dumpLinks(netns).map(({ name, up }) => `${name} ${up}`)).toEqual(['lo true']);
  expect(dumpRoutes(netns).filter(({ prefix }) => prefix === 0)).toEqual([]);
});

test('a network that is joined loses its links with its owner, and its address may be another’s', async () => {
  const owner = await start(assignment([]));
  const joiner = await start(assignment([], `container:${owner.id}`));
  const path = `/proc/${pidOf(joiner)}/net/dev`;
  const interfaces = () => [...readFileSync(path, 'utf8').matchAll(/^\s*(\w+):/gm)].map(([, name]) => name);
  expect(interfaces()).toContain('eth0');
  const { networks } = owner.facts;

  await owner.stop({ signal: 'KILL', timeoutMs: 0 }, signal);
  while (interfaces().includes('eth0')) await delay(systemClock, 5);

  const next = await start(assignment([]));
  expect(joiner.life.kind).toBe('running');
  expect(next.facts.networks).toHaveLength(networks.length);
  expect(joiner.facts.networks).toEqual([]);
});

const pidOf = ({ life }: StandaloneContainer): number => (life.kind === 'running' ? life.pid : 0);
