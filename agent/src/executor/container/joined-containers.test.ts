import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { delay, systemClock } from '@tessera/shared/env';
import type { ContainerSpec, HostConfig } from '@tessera/shared/model';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ContainerExecutor } from './container-executor.js';
import type { PersonContainer } from './testing/person.js';
import { anExec, openRig, type Rig, readAll } from './testing/rig.js';

// `--pid`, `--ipc` and `--network container:…`, on the real kernel.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let rig: Rig;
let target: PersonContainer;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

const sh = (script: string, host: Partial<HostConfig> = {}, spec: Partial<ContainerSpec> = {}) =>
  rig.create(['sh', '-c', script], spec, { host });

async function startTarget(
  script = 'echo up; exec sleep 1d',
  host: Partial<HostConfig> = {},
  spec: Partial<ContainerSpec> = {},
): Promise<void> {
  target = await sh(script, { ipcMode: 'shareable', ...host }, { hostname: 'lender', ...spec });
  await target.start();
  await rig.heard(target, 'up');
}

const joining = (...kinds: ('pidMode' | 'ipcMode' | 'networkMode')[]): Partial<HostConfig> =>
  Object.fromEntries(kinds.map((kind) => [kind, `container:${target.id}`]));

const namespaceOf = (pid: number, name: string) => readlinkSync(`/proc/${pid}/ns/${name}`);

async function stopped(...containers: PersonContainer[]): Promise<void> {
  for (const container of containers) await container.remove();
}

describe('a container that joins another one', () => {
  test('has its namespaces, its /dev/shm, its names of hosts and its own, and nothing else of it', async () => {
    await startTarget('echo kept > /dev/shm/note; echo up; exec sleep 1d');
    const out = await rig.heard(
      await startJoiner(
        'cat /dev/shm/note; hostname; cat /etc/hostname; echo lent > /dev/shm/back; ps; ls /proc/self/fd; echo all-"said"; exec sleep 1d',
      ),
      'all-said',
    );

    for (const name of ['pid', 'ipc', 'net'])
      expect(namespaceOf(joiner.pid, name)).toBe(namespaceOf(target.pid, name));
    for (const name of ['mnt', 'uts', 'cgroup'])
      expect(namespaceOf(joiner.pid, name)).not.toBe(namespaceOf(target.pid, name));
    expect(out).toMatch(/^kept\nlender\nlender\n/);
    expect(out).toMatch(/1 root .*sleep 1d/);
    expect(out).toMatch(/\n0\n1\n2\n3\nall-said/);
    const inode = (pid: number) => statSync(`/proc/${pid}/root/etc/hosts`).ino;
    expect(inode(joiner.pid)).toBe(inode(target.pid));
    expect(readFileSync(`/proc/${target.pid}/root/dev/shm/back`, 'utf8')).toBe('lent\n');
    await stopped(joiner, target);
  });

  test('is what its commands are run in as well, and stops by its own signal', async () => {
    await startTarget();
    await startJoiner('trap "exit 5" TERM; echo ready; while :; do sleep 0.02; done');
    await rig.heard(joiner, 'ready');

    const exec = await joiner.createExec(anExec(['sh', '-c', 'ps; readlink /proc/self/ns/pid']));
    const client = await exec.start({ stdout: true, stderr: true });
    const { stdout } = await readAll(client!);
    expect(stdout).toContain('sleep 1d');
    expect(stdout).toContain(namespaceOf(target.pid, 'pid'));

    await joiner.stop();
    expect((await joiner.exit()).exitCode).toBe(5);
    await stopped(joiner, target);
  });

  test('takes everything along that it left running, and ends with a pid namespace that ends', async () => {
    await startTarget();
    await startJoiner('sleep 2d & echo ready; exec sleep 0.01', 'pidMode');
    await joiner.exit();
    const names = () => readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const isLeft = () => names().some((pid) => commandOf(pid) === 'sleep\x002d\x00');
    while (isLeft()) await delay(systemClock, 5);
    await joiner.remove();

    await startJoiner('exec sleep 1d', 'pidMode');
    await target.stop(0);
    expect((await joiner.exit()).exitCode).toBe(137);
    await stopped(joiner, target);
  });

  test('keeps a network that the other one has left', async () => {
    await startTarget();
    await startJoiner('exec sleep 1d', 'networkMode');
    const before = namespaceOf(joiner.pid, 'net');
    await target.stop(0);
    await target.start();

    expect(joiner.isRunning).toBe(true);
    expect(namespaceOf(joiner.pid, 'net')).toBe(before);
    expect(namespaceOf(target.pid, 'net')).not.toBe(before);
    await stopped(joiner, target);
  });

  test('is lent on: others join what it has joined', async () => {
    await startTarget('echo kept > /dev/shm/note; echo up; exec sleep 1d');
    await startJoiner('exec sleep 1d');
    const first = joiner;
    const mode = `container:${first.id}`;
    const third = await sh('cat /dev/shm/note; echo all-"said"; exec sleep 1d', {
      pidMode: mode,
      ipcMode: mode,
      networkMode: mode,
    });
    await third.start();

    expect(await rig.heard(third, 'all-said')).toContain('kept');
    for (const name of ['pid', 'ipc', 'net'])
      expect(namespaceOf(third.pid, name)).toBe(namespaceOf(target.pid, name));
    await stopped(third, first, target);
  });

  test('is found again by the next agent', async () => {
    await startTarget();
    await startJoiner('exec sleep 1d');
    const next = await ContainerExecutor.open(rig.options);
    await next.recover(new Set([target.id, joiner.id]));

    expect(next.container(joiner.id).life).toMatchObject({ kind: 'running', pid: joiner.pid });
    await next.container(joiner.id).kill(9);
    expect((await joiner.exit()).exitCode).toBe(137);
    await stopped(joiner, target);
  });

  test('cannot start while the other one does not run, or keeps its IPC to itself: Docker’s words', async () => {
    await startTarget('echo up; exec sleep 1d', { ipcMode: 'private' });
    const refusal = async (...kinds: Parameters<typeof joining>) => {
      const container = await sh('true', joining(...kinds));
      const error = await container.start().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      await container.remove();
      return error;
    };
    expect(await refusal('ipcMode')).toMatchObject({
      message:
        'failed to join IPC namespace: non-shareable IPC (hint: use IpcMode:shareable for the donor container)',
    });
    await target.stop(0);
    expect(await refusal('networkMode')).toMatchObject({
      kind: 'conflict',
      message: `cannot join network of a non running container: ${target.id}`,
    });
    expect(await refusal('pidMode')).toMatchObject({
      kind: 'conflict',
      message: `failed to join PID namespace: container ${target.id} is not running`,
    });
    await stopped(target);
  });

  test('shows nothing of the host to a container that may trace everything, on its way there', async () => {
    const marker = join(rig.dir, 'marker');
    writeFileSync(marker, 'host');
    const spy = `
      trap 'echo seen enough; exit 0' TERM
      echo up
      while :; do
        for p in /proc/[0-9]*; do
          [ -e "$p/root${marker}" ] && echo "LEAK root of $p"
          case "$(readlink "$p/cwd")" in ${rig.dir}*) echo "LEAK cwd of $p" ;; esac
          for f in "$p"/fd/*; do
            case "$(readlink "$f" 2>/dev/null)" in ${rig.dir}*|/sys/fs/cgroup*|mnt:*) echo "LEAK $f" ;; esac
          done
          seen=$((seen + 1))
        done
      done`;
    await startTarget(spy, {}, { capAdd: ['SYS_PTRACE'] });
    for (let times = 0; times < 12; times++) {
      await startJoiner('exec sleep 0.02', 'pidMode');
      await joiner.exit();
      await joiner.remove();
    }

    expect(existsSync(`/proc/${target.pid}/root${marker}`)).toBe(false);
    await target.stop(60_000);
    expect(await rig.heard(target, 'seen enough')).not.toContain('LEAK');
    await stopped(target);
  });
});

let joiner: PersonContainer;

async function startJoiner(script: string, ...kinds: Parameters<typeof joining>): Promise<PersonContainer> {
  joiner = await sh(
    script,
    joining(...(kinds.length > 0 ? kinds : (['pidMode', 'ipcMode', 'networkMode'] as const))),
  );
  await joiner.start();
  return joiner;
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
