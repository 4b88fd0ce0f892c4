import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CgroupDriver } from './cgroups/index.js';
import { Freezer } from './freezer.js';

let runDir: string;
let isFrozen: boolean;
let freezer: Freezer;

/** What freezing comes to on this host. */
const cgroups = {
  freeze: async () => {
    isFrozen = true;
  },
  thaw: async () => {
    isFrozen = false;
  },
  isFrozen: async () => isFrozen,
} as unknown as CgroupDriver;

const open = () => new Freezer({ id: 'c', runDir, cgroups, isRunning: () => true });

/** What the next agent makes of it, if this one dies now. */
async function afterKill() {
  const next = open();
  await next.adopt();
  return { isFrozen, isPaused: next.isPaused, isNoted: existsSync(join(runDir, 'frozen')) };
}

beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), 'ts-freezer-'));
  isFrozen = false;
  freezer = open();
});
afterEach(() => rmSync(runDir, { recursive: true }));

test('what is frozen for a look alone goes on when the agent dies', async () => {
  await freezer.freeze('look');
  expect(isFrozen).toBe(true);

  expect(await afterKill()).toEqual({ isFrozen: false, isPaused: false, isNoted: false });
});

test('what its user has paused stays so, whether somebody looked first or later', async () => {
  await freezer.freeze('look');
  await freezer.freeze('pause');
  expect(await afterKill()).toEqual({ isFrozen: true, isPaused: true, isNoted: false });

  freezer = open();
  await freezer.freeze('pause');
  await freezer.freeze('look');
  expect(await afterKill()).toEqual({ isFrozen: true, isPaused: true, isNoted: false });
});

test('it goes on when the last reason is gone', async () => {
  await freezer.freeze('look');
  await freezer.freeze('pause');

  await freezer.thaw('look');
  expect([isFrozen, freezer.isPaused]).toEqual([true, true]);
  await freezer.thaw('pause');
  expect([isFrozen, freezer.isPaused]).toEqual([false, false]);
});

test('one that its user lets go on while somebody looks stands still until that is over', async () => {
  await freezer.freeze('pause');
  await freezer.freeze('look');
  await freezer.thaw('pause');
  expect([isFrozen, freezer.isPaused]).toEqual([true, false]);

  expect(await afterKill()).toEqual({ isFrozen: false, isPaused: false, isNoted: false });
});

test('a pause that comes with the end of a look is not lost', async () => {
  await freezer.freeze('look');

  await Promise.all([freezer.thaw('look'), freezer.freeze('pause')]);

  expect([isFrozen, freezer.isPaused]).toEqual([true, true]);
});

test('what is to end is let go on for whatever reason it stood still', async () => {
  await freezer.freeze('pause');
  await freezer.freeze('look');

  await freezer.release();
  expect(await afterKill()).toEqual({ isFrozen: false, isPaused: false, isNoted: false });
  await freezer.thaw('look');
  expect(isFrozen).toBe(false);
});

test('what cannot be frozen counts as going on', async () => {
  const refuses = { ...cgroups, freeze: async () => Promise.reject(new Error('in the middle of something')) };
  freezer = new Freezer({ id: 'c', runDir, cgroups: refuses, isRunning: () => true });

  await expect(freezer.freeze('look')).rejects.toThrow('in the middle of something');

  expect(await afterKill()).toEqual({ isFrozen: false, isPaused: false, isNoted: false });
});
