import { readFileSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { anExec, openRig, type Rig, readAll } from './testing/rig.js';

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

test('what is paused uses nothing, and its output goes on where it was', async () => {
  const container = await rig.create(['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done']);
  await container.start();
  await container.live.pause();
  const streams = await container.attach();
  const before = await container.live.stats();
  await delay(systemClock, 50);
  expect((await container.live.stats()).cpu.totalNs).toBe(before.cpu.totalNs);
  await container.live.unpause();
  const { stdout } = await readAll(streams, (output) => output.stdout.split('\n').length > 3);

  const numbers = stdout.trim().split('\n').map(Number);
  expect(numbers).toEqual(numbers.map((_, index) => numbers[0]! + index));
  await container.remove();
});

test('top lists its processes and those of its execs, with the host’s ids', async () => {
  const container = await rig.create(['sh', '-c', 'sleep 1001 & exec sleep 1002'], { user: 'app' });
  await container.start();
  const exec = await container.createExec(anExec(['sleep', '1003'], { user: 'root', tty: true }));
  await exec.start(undefined);
  let entries = await container.live.top();
  while (entries.length < 3) entries = await container.live.top();

  const byCommand = new Map(entries.map((entry) => [entry.command, entry]));
  expect([...byCommand.keys()].sort()).toEqual(['sleep 1001', 'sleep 1002', 'sleep 1003']);
  expect(byCommand.get('sleep 1002')).toMatchObject({
    pid: container.pid,
    uid: 1000,
    terminal: '?',
  });
  expect(byCommand.get('sleep 1001')).toMatchObject({ parentPid: container.pid });
  expect(byCommand.get('sleep 1003')).toMatchObject({ pid: exec.status().pid, uid: 0, terminal: 'pts/0' });
  expect(Math.abs(byCommand.get('sleep 1003')!.startedAtMs - Date.now())).toBeLessThan(60_000);
  await container.remove();
});

test('stats count what it uses', async () => {
  const container = await rig.create([
    'sh',
    '-c',
    'head -c 3000000 /dev/zero > /dev/shm/x; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 1000',
  ]);
  await expect(container.live.stats()).rejects.toMatchObject({ kind: 'conflict' });
  const streams = await container.attach();
  await container.start();
  await readAll(streams, ({ stdout }) => stdout === 'done\n');
  const { cpu, memory, pids, networks } = await container.live.stats();

  expect(cpu.totalNs).toBeGreaterThan(10_000_000);
  expect(cpu.hostNs).toBeGreaterThan(cpu.totalNs);
  expect(memory.usageBytes).toBeGreaterThan(3_000_000);
  expect(memory.details.cache ?? memory.details.shmem).toBeGreaterThan(0);
  expect(memory.limitBytes).toBeLessThanOrEqual(
    Number(/^MemTotal:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]) * 1024,
  );
  expect(pids.current).toBeGreaterThan(0);
  expect(networks).toEqual([]);
  await container.remove();
});
