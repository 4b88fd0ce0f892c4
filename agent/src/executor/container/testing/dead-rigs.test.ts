import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { processIdentity } from '@tessera/shared/process';
import { expect, test, vi } from 'vitest';
import { removeDeadRigs } from './dead-rigs.js';
import { directoryImages, openRig } from './rig.js';

const PROCESS = fileURLToPath(new URL('./rig-process.ts', import.meta.url));

/** Where a group of this name is. */
const groups = (name: string): string[] =>
  readdirSync('/sys/fs/cgroup')
    .map((controller) => `/sys/fs/cgroup/${controller}${name}`)
    .filter((path) => existsSync(path));

test("what a killed test's process leaves is removed, and nothing of one that lives", async () => {
  const rig = await openRig();
  const child = spawn(process.execPath, ['--conditions=tessera-source', '--import', 'tsx', PROCESS], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const left = JSON.parse(line) as { dir: string; cgroupParent: string; pid: number };
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(processIdentity(left.pid)).toBeDefined();
  expect(groups(left.cgroupParent)).not.toEqual([]);

  await removeDeadRigs(directoryImages([]));

  expect(existsSync(left.dir)).toBe(false);
  await vi.waitUntil(() => processIdentity(left.pid) === undefined);
  expect(groups(left.cgroupParent)).toEqual([]);
  expect(groups(rig.options.cgroupParent)).not.toEqual([]);
  expect(existsSync(rig.dir)).toBe(true);
  await rig.close();
});
