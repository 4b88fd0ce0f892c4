import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isAlive, processIdentity, readLivePidFile, writePidFile } from './index.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-pid-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

test('a pid file names a process for as long as it runs', async () => {
  const child = spawn('sleep', ['1000']);
  const path = join(dir, 'child.pid');
  writePidFile(path, child.pid);
  expect(readLivePidFile(path)?.pid).toBe(child.pid);

  child.kill('SIGKILL');
  await once(child, 'exit');

  expect(readLivePidFile(path)).toBeUndefined();
});

test('another process with the same pid is not taken for it', () => {
  const self = processIdentity(process.pid)!;

  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTicks: self.startTicks - 1 })).toBe(false);
  expect(isAlive({ ...self, bootId: 'another boot' })).toBe(false);
});

test('a missing or torn pid file names nobody', () => {
  writeFileSync(join(dir, 'torn'), '{"pid":');

  expect(readLivePidFile(join(dir, 'torn'))).toBeUndefined();
  expect(readLivePidFile(join(dir, 'missing'))).toBeUndefined();
});
