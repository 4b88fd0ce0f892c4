import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnDaemon } from '@tessera/native';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { processIdentity, readLivePidFile, writePidFile } from '@tessera/shared/process';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ManagerSupervisor } from './manager-supervisor.js';

let dir: string;
let started: number[];
let script: string;
let supervisors: ManagerSupervisor[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-supervisor-'));
  started = [];
  supervisors = [];
  // Says that it is ready by a file, and runs until it is told to end.
  script = `echo ready > ${dir}/ready; exec sleep 1000`;
});
afterEach(async () => {
  for (const supervisor of supervisors) await supervisor.release();
  for (const pid of started) if (processIdentity(pid)) process.kill(pid, 'SIGKILL');
  await until(() => expect(started.filter((pid) => processIdentity(pid))).toEqual([]));
  rmSync(dir, { recursive: true });
});
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });

function aSupervisor(onChange: (up: boolean) => void = () => undefined): ManagerSupervisor {
  const supervisor = new ManagerSupervisor({
    dataDir: join(dir, 'manager'),
    runDir: dir,
    spawn: async (args, outputFd) => {
      const pid = spawnDaemon({ path: '/bin/sh', args: ['-c', script, ...args], env: process.env, outputFd });
      started.push(pid);
      // As the manager does it: one that has ended, perhaps this very moment, has nothing to write.
      try {
        writePidFile(join(dir, 'manager.pid'), pid);
      } catch (error) {
        if (processIdentity(pid)) throw error;
      }
      return pid;
    },
    isReady: async () => existsSync(join(dir, 'ready')),
    onChange,
    clock: systemClock,
    logger: silentLogger,
  });
  supervisors.push(supervisor);
  return supervisor;
}
const signal = new AbortController().signal;

test('a manager is started, and ready once its API answers', async () => {
  const changes: boolean[] = [];
  const supervisor = aSupervisor((up) => changes.push(up));
  supervisor.start(['--flag']);

  await supervisor.ready(signal);

  expect(started).toHaveLength(1);
  expect(changes).toEqual([true]);
  expect(supervisor.running).toBe(true);
});

test('a manager that dies is started again', async () => {
  const changes: boolean[] = [];
  const supervisor = aSupervisor((up) => changes.push(up));
  supervisor.start([]);
  await supervisor.ready(signal);

  process.kill(started[0]!, 'SIGKILL');

  await until(() => expect(changes).toEqual([true, false, true]));
  expect(started).toHaveLength(2);
});

test('a manager that has outlived the last agent is adopted', async () => {
  const first = aSupervisor();
  first.start([]);
  await first.ready(signal);
  await first.release();

  const second = aSupervisor();
  second.start([]);
  await second.ready(signal);

  expect(started).toHaveLength(1);
});

test('a manager that cannot start is told of by its own last words', async () => {
  script = `echo '{"level":"error","msg":"listen on 1.2.3.4:2377","error":{"message":"address not available"}}'; exit 1`;
  const supervisor = aSupervisor();
  supervisor.start([]);

  await expect(supervisor.ready(signal)).rejects.toThrow(
    'the manager could not start: listen on 1.2.3.4:2377: address not available',
  );
});

test('stopping ends the manager and what it keeps running beside itself', async () => {
  const supervisor = aSupervisor();
  supervisor.start([]);
  await supervisor.ready(signal);
  const helper = spawnDaemon({ path: '/bin/sleep', args: ['1000'], env: {}, outputFd: 1 });
  started.push(helper);
  writePidFile(join(dir, 'manager', 'etcd.pid'), helper);

  await supervisor.stop();

  expect(processIdentity(started[0]!)).toBeUndefined();
  expect(processIdentity(helper)).toBeUndefined();
  expect(readLivePidFile(join(dir, 'manager.pid'))).toBeUndefined();
});
