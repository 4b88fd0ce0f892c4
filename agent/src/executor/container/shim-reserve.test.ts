import { readdirSync, readFileSync } from 'node:fs';
import type { Shim } from '@tessera/native';
import { FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { ShimReserve } from './shim-reserve.js';

const setUp = () => {
  const clock = new FakeClock();
  return { clock, shims: new ShimReserve(clock) };
};
/** Pids of this process's shims, those that nobody has reaped included. */
function running(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => statOf(pid).includes(`(ts-shim) `) && parentOf(pid) === process.pid)
    .map(Number);
}
function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return ''; // it has just gone
  }
}
const parentOf = (pid: string): number => Number(statOf(pid).split(') ')[1]?.split(' ')[1]);
async function letGo(shim: Shim): Promise<void> {
  shim.kill();
  await shim.ended();
  shim.release();
}

test('what is expected, however often, has one shim, and the next start takes it', async () => {
  const { shims } = setUp();
  shims.expect();
  shims.expect();
  await expect.poll(running).toHaveLength(1);
  const [waiting] = running();

  const first = await shims.take();
  const second = await shims.take();

  expect(first.pid).toBe(waiting);
  expect(running().sort()).toEqual([first.pid, second.pid].sort());
  for (const shim of [first, second]) await letGo(shim);
});

test('one that no start follows ends', async () => {
  const { shims, clock } = setUp();
  shims.expect();
  await expect.poll(running).toHaveLength(1);
  clock.advance(600);
  shims.expect();
  clock.advance(600);
  expect(running()).toHaveLength(1);

  clock.advance(400);

  await expect.poll(running).toEqual([]);
});

test('one that has died is not handed out', async () => {
  const { shims } = setUp();
  shims.expect();
  await expect.poll(running).toHaveLength(1);
  const [dead] = running();

  process.kill(dead!, 'SIGKILL');
  await expect.poll(running).toEqual([]);

  const shim = await shims.take();
  expect(shim.pid).not.toBe(dead);
  await letGo(shim);
});
