import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import type { Task } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ContainerExecutor } from './container-executor.js';
import { AgentProcess } from './testing/killable-agent.js';
import { openRig, type Rig, readLog } from './testing/rig.js';

// Processes of Node are started here, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const { signal } = new AbortController();

let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

/** The next agent on the same host. */
async function nextAgent(tasks: readonly Task[]): Promise<ContainerExecutor> {
  const executor = await ContainerExecutor.open(rig.options);
  await executor.recover(new Set(tasks.map(({ id }) => id)));
  return executor;
}

/** A zombie that nobody has taken yet is not. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
/** For conditions of processes that are not ours to wait for. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(systemClock, 5);
}

/** The parent of the container's first process. */
const shimOf = (pid: number): number =>
  Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

test('a container outlives a killed agent and is adopted by the next: same pid, same log, its exit code', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task([
    'sh',
    '-c',
    'echo before; trap "echo after; exit 42" TERM; while :; do sleep 0.02; done',
  ]);
  const before = await agent.start(task);
  await agent.kill();

  const controller = (await nextAgent([task])).controller(task);
  await controller.prepare(signal);
  await controller.start(signal);
  await rig.logged(controller, 'before');

  expect(controller.status()).toMatchObject({ containerId: before.containerId, pid: before.pid });
  expect(controller.status()!.startedAtMs).toBe(before.startedAtMs);
  expect(isAlive(before.pid)).toBe(true);
  expect(await controller.shutdown(signal)).toMatchObject({ exitCode: 42 });
  expect(readLog(`${rig.options.dataDir}/containers/${before.containerId}`).stdout).toBe('before\nafter\n');
  await controller.remove();
  expect(readdirSync(`${rig.options.dataDir}/containers`)).toEqual([]);
});

test('a container that ended while no agent was there is found with its exit code and log', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task(['sh', '-c', 'while [ ! -e /go ]; do sleep 0.02; done; echo done; exit 9']);
  const { containerId, pid } = await agent.start(task);
  await agent.kill();
  writeFileSync(`/proc/${pid}/root/go`, '');
  await until(() => existsSync(`${rig.options.dataDir}/containers/${containerId}/exit`));

  const executor = await nextAgent([task]);
  const controller = executor.controller(task);
  await controller.start(signal);

  expect(await controller.wait(signal)).toMatchObject({ exitCode: 9, oomKilled: false });
  expect(controller.status()).toMatchObject({ containerId, exitCode: 9, pid: 0 });
  const records = [];
  for await (const record of executor.logs.read({ ...ALL, taskIds: [task.id] }, signal)) records.push(record);
  expect(records.map(({ line }) => Buffer.from(line).toString())).toEqual(['done']);
  await controller.remove();
});

test('containers of tasks that nobody knows any more are removed at start', async () => {
  const agent = new AgentProcess(rig);
  const { pid } = await agent.start(rig.task(['sleep', '1000']));
  await agent.kill();

  await nextAgent([]);

  expect(isAlive(pid)).toBe(false);
  expect(readdirSync(`${rig.options.dataDir}/containers`)).toEqual([]);
  expect(await rig.executor.cgroups.list()).toEqual([]);
});

test('an agent killed in the middle of starts leaves nothing that its successor cannot start anew', async () => {
  for (let round = 0; round < 8; round += 2) {
    const agent = new AgentProcess(rig);
    const task = rig.task(['sleep', '1000'], { hostname: `round-${round}` });
    await agent.prepare(task);
    // The start is under way now; each round kills a little later.
    await delay(systemClock, round);
    await agent.kill();

    const controller = (await nextAgent([task])).controller(task);
    await controller.prepare(signal);
    await controller.start(signal);

    expect(isAlive(controller.status()!.pid)).toBe(true);
    expect(readdirSync(`${rig.options.dataDir}/containers`)).toHaveLength(1);
    expect(await rig.executor.cgroups.list()).toHaveLength(1);
    await controller.remove();
    expect(await rig.executor.cgroups.list()).toEqual([]);
  }
});

test('a killed shim takes its container with it, recorded as 137 "shim lost"', async () => {
  const controller = rig.executor.controller(rig.task(['sh', '-c', 'sleep 1000 & sleep 1000 & wait']));
  await controller.prepare(signal);
  await controller.start(signal);
  const { pid } = controller.status()!;

  process.kill(shimOf(pid), 'SIGKILL');

  expect(await controller.wait(signal)).toMatchObject({
    exitCode: 137,
    oomKilled: false,
    error: 'shim lost',
  });
  expect(isAlive(pid)).toBe(false);
  await controller.remove();
  expect(await rig.executor.cgroups.list()).toEqual([]);
});

test('a shim killed while no agent was there is found lost, and its container killed', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task(['sleep', '1000']);
  const { pid } = await agent.start(task);
  await agent.kill();
  process.kill(shimOf(pid), 'SIGKILL');

  const controller = (await nextAgent([task])).controller(task);

  expect(await controller.wait(signal)).toMatchObject({ exitCode: 137, error: 'shim lost' });
  expect(isAlive(pid)).toBe(false);
  await controller.remove();
});

test('after a reboot a container that ran is recorded as exited, 255', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task(['sleep', '1000']);
  const { pid, containerId } = await agent.start(task);
  await agent.kill();
  // As a boot leaves it: no process, and a record of another boot.
  process.kill(shimOf(pid), 'SIGKILL');
  await until(() => !isAlive(pid));
  const path = `${rig.options.dataDir}/containers/${containerId}/container.json`;
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), bootId: 'another' }));

  const controller = (await nextAgent([task])).controller(task);

  expect(await controller.wait(signal)).toMatchObject({ exitCode: 255, error: 'host was restarted' });
  await controller.remove();
});

const ALL = {
  taskIds: [],
  follow: false,
  tail: -1,
  sinceSeconds: 0,
  sinceNanos: 0,
  untilSeconds: 0,
  untilNanos: 0,
  stdout: true,
  stderr: true,
};
