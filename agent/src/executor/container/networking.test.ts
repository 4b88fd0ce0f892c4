import { closeSync, existsSync, writeFileSync } from 'node:fs';
import { dumpLinks, listRules, openNetns } from '@tessera/native';
import { delay, systemClock } from '@tessera/shared/env';
import type { ContainerSpec, Task } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OverlayLab } from '../../bench/overlay-lab.js';
import { aNetwork, openManager } from '../../bench/overlay-site.js';
import { KernelThread } from '../../network/kernel-thread.js';
import type { NetworkManager } from '../../network/network-manager.js';
import { macOf } from '../../network/subnets.js';
import { ContainerExecutor } from './container-executor.js';
import { openRig, type Rig } from './testing/rig.js';

// Containers on networks, on a host that is a network namespace: the executor and the network part together.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
/** Well before the minute after which the network part looks for containers that have ended. */
const SOON = { timeout: 30_000 };

let lab: OverlayLab;
let thread: KernelThread;
let network: NetworkManager;
let rig: Rig;
beforeEach(async () => {
  lab = new OverlayLab(1);
  thread = new KernelThread();
  network = await aManager();
  await network.adopt([]);
  rig = await openRig({ network });
});
afterEach(async () => {
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
const aTask = (args: readonly string[], container: Partial<ContainerSpec> = {}): Task => ({
  ...rig.task(args, container),
  networks: [{ networkId: 'network-1', addr: '10.0.1.9/24', mac: macOf('10.0.1.9'), aliases: [] }],
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
