import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { anExec, openRig, type Rig, readAll } from './testing/rig.js';

vi.setConfig({ testTimeout: 240_000 });

const { signal } = new AbortController();
let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

const openDescriptors = () => readdirSync('/proc/self/fd').length;
const mounts = () => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length;
/** Processes of ours that ended and were not waited for, and those that run. */
const children = () =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);

async function churn(count: number, atOnce: number): Promise<number[]> {
  const codes: number[] = [];
  const lane = async () => {
    while (codes.length < count)
      codes.push((await rig.run(rig.task(['sh', '-c', 'echo hello; exit 4']))).exitCode);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return codes;
}

test('containers that come and go leave no descriptor, mount, process, cgroup or file', async () => {
  await churn(8, 8);
  const before = { descriptors: openDescriptors(), mounts: mounts(), children: children() };

  const codes = await churn(60, 8);
  await rig.executor.idle();

  expect(new Set(codes)).toEqual(new Set([4]));
  expect(openDescriptors()).toBeLessThanOrEqual(before.descriptors);
  expect(mounts()).toBe(before.mounts);
  expect(children()).toEqual(before.children);
  expect(await rig.executor.cgroups.list()).toEqual([]);
  expect(readdirSync(`${rig.options.dataDir}/containers`)).toEqual([]);
  expect(readdirSync(`${rig.options.runDir}/containers`)).toEqual([]);
  expect(readdirSync(`${rig.options.dataDir}/trash`)).toEqual([]);
});

test('clients and execs that come and go leave no descriptor, here or in the shim, and no process or file', async () => {
  const container = await rig.create(['sleep', '100000'], { openStdin: true });
  await container.start();
  const shim = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${container.pid}/status`, 'utf8'))![1]);
  const use = async () => {
    const client = await container.attach({ history: true });
    await client.write(Buffer.from('x'));
    client.close();
    const exec = await container.createExec(anExec(['cat'], { stdin: true }));
    const streams = await exec.start({ stdout: true, stderr: true });
    await streams!.write(Buffer.from('input'));
    await streams!.endInput();
    expect((await readAll(streams!)).stdout).toBe('input');
    const terminal = await container.createExec(anExec(['tty'], { tty: true }));
    expect((await readAll((await terminal.start({ stdout: true, stderr: true }))!)).stdout).toBe(
      '/dev/pts/0\r\n',
    );
    await expect((await container.createExec(anExec(['nonesuch']))).start(undefined)).rejects.toThrow();
  };
  const count = () => ({
    own: openDescriptors(),
    shims: readdirSync(`/proc/${shim}/fd`).length,
    processes: readFileSync(`/proc/${shim}/task/${shim}/children`, 'utf8').trim(),
  });
  for (let i = 0; i < 70; i++) await use();
  // What has been let go of is closed a little later.
  const before = count();
  for (let i = 0; i < 30; i++) await use();
  while (
    count().own > before.own ||
    count().shims > before.shims ||
    count().processes !== String(container.pid)
  )
    await delay(systemClock, 10);

  // The records of the execs that are remembered: two files each, one of what never ran.
  const files = readdirSync(`${rig.options.runDir}/containers/${container.id}`);
  expect(files.filter((name) => name.startsWith('exec-')).length).toBeLessThanOrEqual(2 * 64);
  await container.remove();
});

test('a start that is aborted at any moment leaves nothing, and can be made again', async () => {
  for (let round = 0; round < 10; round++) {
    const controller = rig.executor.controller(rig.task(['sleep', '1000']));
    const abort = new AbortController();
    await controller.prepare(signal);
    const starting = controller.start(abort.signal);
    await delay(systemClock, round);
    abort.abort(new Error('not any more'));
    const outcome = await starting.then(
      () => 'started',
      (error: Error) => error.message,
    );

    expect(['started', 'not any more']).toContain(outcome);
    if (outcome !== 'started') {
      await controller.prepare(signal);
      await controller.start(signal);
    }
    expect(existsSync(`/proc/${controller.status()!.pid}`)).toBe(true);
    await controller.remove();
    expect(await rig.executor.cgroups.list()).toEqual([]);
  }
});

test('what was prepared and never started is removed whole, its waiting shim with it', async () => {
  const before = children();
  const controllers = Array.from({ length: 5 }, () => rig.executor.controller(rig.task(['true'])));
  await Promise.all(controllers.map((controller) => controller.prepare(signal)));

  await Promise.all(controllers.map((controller) => controller.remove()));

  expect(children()).toEqual(before);
  expect(readdirSync(`${rig.options.dataDir}/containers`)).toEqual([]);
});
