import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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

test('on a full disk the lock of a dead agent is taken over, and that of a living one is respected', {
  timeout: 120_000,
}, async () => {
  const child = spawn('sleep', ['1000']);
  const living = spawn('sleep', ['1000']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  writePidFile(join(dir, 'living.pid'), living.pid);
  const taken = `
    import { takeInstanceLock } from ${JSON.stringify(new URL('./instance-lock.ts', import.meta.url).href)};
    import { readFileSync } from 'node:fs';
    takeInstanceLock(process.argv[1]);
    console.log(JSON.parse(readFileSync(process.argv[1] + '/tsd.pid', 'utf8')).pid === process.pid);`;
  const onFullDisk = (holder: string) =>
    execFileSync(
      'unshare',
      [
        ...['--mount', 'sh', '-c'],
        'mkdir "$0/full" && mount -t tmpfs -o size=64k tmpfs "$0/full" && printf "%s" "$1" > "$0/full/tsd.pid" &&' +
          ' shift && { cat /dev/zero > "$0/full/filler"; exec "$@" "$0/full"; }',
        ...[dir, holder, process.execPath, '--conditions=tessera-source', '--import', 'tsx'],
        ...['--input-type=module', '--eval', taken],
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );

  try {
    const outdated = JSON.stringify({ pid: child.pid, startTicks: 1, bootId: 'another'.padEnd(60) });
    expect(onFullDisk(outdated)).toBe('true\n');
    rmSync(join(dir, 'full'), { recursive: true });
    expect(() => onFullDisk(readFileSync(join(dir, 'living.pid'), 'utf8'))).toThrow(
      `another tsd (pid ${living.pid})`,
    );
  } finally {
    living.kill('SIGKILL');
  }
});
