import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openRig, type Rig } from './testing/rig.js';

// `--init`, on the real kernel.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

const INIT = { init: true } as const;

async function exitOf(script: string): Promise<number> {
  const container = await rig.create(['sh', '-c', script], INIT);
  await container.start();
  const { exitCode } = await container.exit();
  await container.remove();
  return exitCode;
}

describe('with an init', () => {
  test('it is the first process, under Docker’s name, and the command its child', async () => {
    const out = await rig.said(
      ['sh', '-c', 'ps; cat /proc/1/comm; cat /proc/1/cmdline | tr "\\0" " "'],
      INIT,
    );

    expect(out).toMatch(/\s1 root\s+\/sbin\/docker-init -- sh -c/);
    expect(out).toMatch(/\ndocker-init\n\/sbin\/docker-init -- sh -c ps;/);
  });

  test('the exit code is the command’s, or 128 and the signal that ended it', async () => {
    expect(await exitOf('exit 7')).toBe(7);
    expect(await exitOf('kill -9 $$')).toBe(137);
    expect(await exitOf('kill -SEGV $$')).toBe(139);
  });

  test('orphans are reaped', async () => {
    const script =
      'for i in 1 2 3 4 5; do (sleep 0.01 &); done; until set -- /proc/[0-9]*; [ $# = 2 ]; do :; done; echo "$@"';
    expect(await rig.said(['sh', '-c', script], INIT)).toMatch(/^\/proc\/1 \/proc\/\d+\n$/);
  });

  test('signals reach the command, also those that the C library keeps to itself', async () => {
    const container = await rig.create(
      ['sh', '-c', 'trap "echo usr" USR1; trap "echo rt; exit 5" 34; echo up; while :; do sleep 0.02; done'],
      INIT,
    );
    await container.start();
    await rig.heard(container, 'up');
    await container.live.kill(10);
    await rig.heard(container, 'usr');
    await container.live.kill(34);

    expect((await container.exit()).exitCode).toBe(5);
    await container.remove();
  });

  test('what the command left running ends with it', async () => {
    expect(await exitOf('sleep 1d & exit 3')).toBe(3);
    expect(await rig.executor.cgroups.list()).toEqual([]);
  });

  test('a command that is not there is told of as by tini, with its code', async () => {
    const container = await rig.create(['nope'], INIT);
    await container.start();
    const { exitCode } = await container.exit();
    const said = await rig.heard(container, 'failed');
    await container.remove();

    expect(exitCode).toBe(127);
    expect(said).toMatch(/^\[FATAL tini \(\d+\)\] exec nope failed: No such file or directory\n$/);
  });

  test('nothing of it comes from the image, and nobody can write to it (CVE-2019-5736)', async () => {
    mkdirSync(join(rig.layer, 'sbin'), { recursive: true });
    writeFileSync(join(rig.layer, 'sbin/docker-init'), '#!/bin/sh\necho mine; exit 66\n', { mode: 0o755 });
    const out = await rig.said(
      [
        'sh',
        '-c',
        'readlink /proc/1/exe; echo x > /proc/1/exe; ls /proc/self/fd; ls -l /sbin/docker-init | wc -l',
      ],
      INIT,
    );

    expect(out).toMatch(/^\/memfd:ts-shim \(deleted\)\n/);
    expect(out).toMatch(/can't create \/proc\/1\/exe/);
    expect(out).toMatch(/0\n1\n2\n3\n1\n/);
    expect(out).not.toContain('mine');
  });

  test('there is none in the host’s pid namespace, which has its own', async () => {
    const out = await rig.said(['sh', '-c', 'cat /proc/$$/comm; true'], INIT, { host: { pidMode: 'host' } });
    expect(out).toBe('sh\n');
  });
});
