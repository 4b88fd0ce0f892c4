import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writePidFile } from '@tessera/shared/process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeInstanceLock } from './instance-lock.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-lock-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

test('a data directory has one agent, until that one gives it up', () => {
  const release = takeInstanceLock(dir);
  expect(() => takeInstanceLock(dir)).toThrow(`another tsd (pid ${process.pid}) uses ${dir}`);

  release();

  takeInstanceLock(dir)();
  expect(readdirSync(dir)).toEqual([]);
});

test('the lock of an agent that was killed counts for nothing', async () => {
  const child = spawn('sleep', ['1000']);
  writePidFile(join(dir, 'tsd.pid'), child.pid);
  expect(() => takeInstanceLock(dir)).toThrow('another tsd');

  child.kill('SIGKILL');
  await once(child, 'exit');

  takeInstanceLock(dir)();
});
