import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dumpLinks, listRules, openNetns, openSocket } from '@tessera/native';
import { delay, systemClock } from '@tessera/shared/env';
import type { ContainerSpec, Task } from '@tessera/shared/model';
import { decode, encode } from 'dns-packet';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type LabContainer, OverlayLab } from '../../bench/overlay-lab.js';
import { aNetwork, openManager } from '../../bench/overlay-site.js';
import { addressesIn, lookUp } from '../../bench/overlay-talk.js';
import { frame } from '../../network/dns/forwarder.js';
import { KernelThread } from '../../network/kernel-thread.js';
import type { NetworkManager } from '../../network/network-manager.js';
import { macOf } from '../../network/subnets.js';
import type { Controller } from '../executor.js';
import { ContainerExecutor } from './container-executor.js';
import { openRig, type Rig, readLog } from './testing/rig.js';

// Containers on networks, on a host that is a network namespace: the executor and the network part together.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const { signal } = new AbortController();
/** Well before the minute after which the network part looks for containers that have ended. */
const SOON = { timeout: 30_000 };

let lab: OverlayLab;
let thread: KernelThread;
let network: NetworkManager;
let rig: Rig;
/** What a test leaves to be removed. */
const running: Controller[] = [];
beforeEach(async () => {
  lab = new OverlayLab(1);
  thread = new KernelThread();
  network = await aManager();
  await network.adopt([]);
  rig = await openRig({ network });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((controller) => controller.remove()));
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

/** At 10.0.1.9 of the network `shop`. */
const aTask = (
  args: readonly string[],
  container: Partial<ContainerSpec> = {},
  address = '10.0.1.9',
): Task => ({
  ...rig.task(args, container),
  networks: [{ networkId: 'network-1', addr: `${address}/24`, mac: macOf(address), aliases: [] }],
});

/** The ends of containers' links that are on the host and in its fabric, and the addresses that may speak there. */
function traces(): string[] {
  const fabric = openNetns(host().fabricPath);
  try {
    const links = [...dumpLinks(fabric), ...dumpLinks(host().fd)].map(({ name }) => name);
    const guard = JSON.stringify(listRules(fabric, 'list table bridge tessera'));
    return [
      ...links.filter((name) => /^t[nv]-/.test(name)).map((name) => name.slice(0, 2)),
      ...(guard.match(/10\.0\.1\.9/g) ?? []),
    ].sort();
  } finally {
    closeSync(fabric);
  }
}

test('a container that ends leaves its networks at once, although it is not removed yet', async () => {
  const controller = rig.executor.controller(aTask(['sh', '-c', 'while [ ! -e /go ]; do sleep 0.02; done']));
  await controller.prepare(signal);
  await controller.start(signal);
  expect(traces()).toEqual(['10.0.1.9', 'tn', 'tv']);

  writeFileSync(`/proc/${controller.status()!.pid}/root/go`, '');
  await controller.wait(signal);

  await expect.poll(traces, SOON).toEqual([]);
  await controller.remove();
});

test('a container whose command cannot be executed is in no network', async () => {
  const controller = rig.executor.controller(aTask(['no-such-command']));
  await controller.prepare(signal);

  await expect(controller.start(signal)).rejects.toMatchObject({ exitCode: 127 });

  await expect.poll(traces, SOON).toEqual([]);
  await controller.remove();
});

test('what ended while no agent was there is out of its networks once the next has adopted the others', async () => {
  const task = aTask(['sh', '-c', 'while [ ! -e /go ]; do sleep 0.02; done']);
  const before = rig.executor.controller(task);
  await before.prepare(signal);
  await before.start(signal);
  const { containerId, pid } = before.status()!;
  await network.close();
  writeFileSync(`/proc/${pid}/root/go`, '');
  while (!existsSync(`${rig.options.dataDir}/containers/${containerId}/exit`)) await delay(systemClock, 5);

  network = await aManager();
  const next = await ContainerExecutor.open({ ...rig.options, network });
  await next.recover(new Set([task.id]));

  await expect.poll(traces, SOON).toEqual([]);
  await next.controller(task).remove();
});

test('an adopted container leaves its networks when it ends', async () => {
  const task = aTask(['sh', '-c', 'while [ ! -e /go ]; do sleep 0.02; done']);
  const before = rig.executor.controller(task);
  await before.prepare(signal);
  await before.start(signal);
  await network.close();
  network = await aManager();
  const next = await ContainerExecutor.open({ ...rig.options, network });
  await next.recover(new Set([task.id]));
  expect(traces()).toEqual(['10.0.1.9', 'tn', 'tv']);

  const controller = next.controller(task);
  writeFileSync(`/proc/${controller.status()!.pid}/root/go`, '');
  await controller.wait(signal);

  await expect.poll(traces, SOON).toEqual([]);
  await controller.remove();
});

describe('the DNS servers, domains and options of a service', () => {
  const dns = { dnsServers: ['10.0.1.5'], dnsSearch: ['example.org'], dnsOptions: ['timeout:1'] };

  async function run(task: Task): Promise<[Controller, LabContainer]> {
    const controller = rig.executor.controller(task);
    running.push(controller);
    await controller.prepare(signal);
    await controller.start(signal);
    const { pid } = controller.status()!;
    return [controller, { pid, netns: `/proc/${pid}/ns/net`, end: async () => {} }];
  }

  test('are in resolv.conf, but for the servers, which the resolver asks from the container’s network', async () => {
    const { asked } = await nameServerAt('10.0.1.5');
    const [controller, container] = await run(aTask(['sh', '-c', 'cat /etc/resolv.conf; sleep 1000'], dns));
    await rig.logged(controller, 'timeout:1');
    const { containerId } = controller.status()!;

    expect(readLog(`${rig.options.dataDir}/containers/${containerId}`).stdout).toBe(
      'nameserver 127.0.0.11\nsearch example.org\noptions ndots:0 timeout:1\n',
    );
    expect(addressesIn(await lookUp(container, 'by.udp'))).toEqual(['192.0.2.1']);
    expect(addressesIn(await lookUp(container, 'by.tcp', 'A', 'tcp'))).toEqual(['192.0.2.1']);
    expect(asked).toEqual(new Set(['by.udp from 10.0.1.9', 'by.tcp from 10.0.1.9']));
  });

  test('are kept by the next agent', async () => {
    const { server, asked } = await nameServerAt('10.0.1.5');
    const task = aTask(['sleep', '1000'], dns);
    const [, container] = await run(task);
    await network.close();

    network = await aManager();
    const next = await ContainerExecutor.open({ ...rig.options, network });
    await next.recover(new Set([server.id, task.id]));
    running.splice(0, 2, ...[server, task].map((each) => next.controller(each)));

    expect(addressesIn(await lookUp(container, 'later.example'))).toEqual(['192.0.2.1']);
    expect(asked).toEqual(new Set(['later.example from 10.0.1.9']));
  });

  test('do not lead out of an internal network', async () => {
    const outside = await nameServerAt('10.99.0.254', { pid: 0, netns: lab.outside, end: async () => {} });
    const beside = await nameServerAt('10.0.1.5');
    await network.apply(
      { networks: [aNetwork(1, 'shop', { internal: true })], endpoints: [], virtualServices: [] },
      2,
    );
    const [first, one] = await run(aTask(['sleep', '1000'], { dnsServers: ['10.99.0.254'] }));
    expect(await lookUp(one, 'secret.example')).toMatchObject({ rcode: 'SERVFAIL' });
    await first.remove();

    const [, two] = await run(aTask(['sleep', '1000'], { dnsServers: ['127.0.0.11', '10.0.1.5'] }));
    expect(addressesIn(await lookUp(two, 'inner.example'))).toEqual(['192.0.2.1']);

    expect(outside.asked).toEqual(new Set());
    expect(beside.asked).toEqual(new Set(['inner.example from 10.0.1.9']));
  });

  /** Answers everything with 192.0.2.1, by UDP and TCP; on the network `shop` unless said. @returns the task, and who asked what */
  async function nameServerAt(address: string, place?: LabContainer) {
    const server = aTask(['sleep', '1000'], {}, address);
    const container = place ?? (await run(server))[1];
    const asked = new Set<string>();
    const answer = (message: Buffer, from: string): Buffer => {
      const { id = 0, questions = [] } = decode(message);
      const name = questions[0]?.name ?? '';
      asked.add(`${name} from ${from}`);
      return encode({
        type: 'response',
        id,
        questions,
        answers: [{ type: 'A', name, data: '192.0.2.1', ttl: 1 }],
      });
    };
    const netns = openNetns(container.netns);
    const udp = createSocket('udp4');
    udp.on('message', (message, from) => udp.send(answer(message, from.address), from.port, from.address));
    // With a descriptor it listens before the call returns.
    const udpListens = once(udp, 'listening');
    udp.bind({ fd: openSocket(netns, 'udp', { bind: address, port: 53 }).fd, exclusive: true });
    const tcp = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (data) => socket.end(frame(answer(data.subarray(2), socket.remoteAddress ?? ''))));
    });
    const tcpListens = once(tcp, 'listening');
    tcp.listen({ fd: openSocket(netns, 'tcp', { bind: address, port: 53 }).fd, exclusive: true });
    closeSync(netns);
    onTestFinished(() => {
      udp.close();
      tcp.close();
    });
    await Promise.all([udpListens, tcpListens]);
    return { server, asked };
  }
});
