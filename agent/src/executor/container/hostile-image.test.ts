import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { artefactPath } from '@tessera/native';
import { ContainerResources, Mount } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRig, type Rig } from './testing/rig.js';

// What images, specs and running containers have done to other runtimes. The numbers are of public advisories.

const { signal } = new AbortController();
let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

/** Replaces something in the image's layer. */
function plant(path: string, target: string): void {
  rmSync(join(rig.layer, path), { recursive: true, force: true });
  symlinkSync(target, join(rig.layer, path));
}

const aBind = (target: string, part: object = {}): Mount =>
  Mount.fromPartial({ type: 'bind', source: rig.layer, target, readOnly: true, ...part });

test.each(['proc', 'sys', 'dev'])(
  '/%s as a symbolic link is refused (CVE-2019-19921, CVE-2023-28642, CVE-2026-41579)',
  async (name) => {
    mkdirSync(join(rig.layer, 'elsewhere'));
    plant(name, '/elsewhere');

    await expect(rig.run(rig.task(['true']))).rejects.toMatchObject({
      exitCode: 125,
      message: /symbolic links|not a directory/,
    });
  },
);

test.each(['/proc', '/proc/sys/kernel', '/', '/etc/..'])(
  'a mount over %s is refused (CVE-2019-16884)',
  async (target) => {
    await expect(rig.run(rig.task(['true'], { mounts: [aBind(target)] }))).rejects.toMatchObject({
      exitCode: 125,
      message: expect.stringContaining('operation not permitted'),
    });
  },
);

test('links in the image lead nowhere but into the image (CVE-2021-30465, CVE-2024-45310)', async () => {
  const victim = join(rig.dir, 'victim');
  plant('etc/hosts', `../../../../../../../..${victim}/made/hosts`);
  plant('mnt', victim);
  mkdirSync(join(rig.layer, victim), { recursive: true });

  const { stdout } = await rig.run(
    rig.task(['sh', '-c', `head -n 1 ${victim}/made/hosts; ls ${victim}`], { mounts: [aBind('/mnt/deep')] }),
  );

  expect(existsSync(victim)).toBe(false);
  expect(stdout).toMatch(/^127.0.0.1\tlocalhost\n/);
  expect(stdout).toContain('deep');
});

test('a dangling link as a mount target makes no file anywhere', async () => {
  const victim = join(rig.dir, 'victim');
  plant('mnt', victim);

  await rig.run(rig.task(['true'], { mounts: [aBind('/mnt')] })).catch(() => {});

  expect(existsSync(victim)).toBe(false);
});

test('a working directory that leads out by a descriptor is refused (CVE-2024-21626)', async () => {
  for (let fd = 3; fd < 16; fd++) {
    await expect(rig.run(rig.task(['true'], { dir: `/proc/self/fd/${fd}` }))).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining(`working directory "/proc/self/fd/${fd}"`),
    });
  }
});

test('databases that are pipes, devices or links into /proc neither hang nor are read', async () => {
  rmSync(join(rig.layer, 'etc/passwd'));
  execFileSync('mkfifo', [join(rig.layer, 'etc/passwd')]);
  plant('etc/group', '/dev/zero');

  await expect(rig.run(rig.task(['true'], { user: 'app' }))).rejects.toMatchObject({ exitCode: 125 });
  expect(await rig.run(rig.task(['grep', '^Uid', '/proc/self/status'], { user: '12:13' }))).toMatchObject({
    stdout: 'Uid:\t12\t12\t12\t12\n',
  });

  plant('etc/passwd', '/proc/self/fd/3');
  await expect(rig.run(rig.task(['true'], { user: 'app' }))).rejects.toMatchObject({ exitCode: 125 });
});

test('/proc/self/exe as the command reaches only a sealed copy of the shim (CVE-2019-5736)', async () => {
  const hash = () =>
    createHash('sha256')
      .update(readFileSync(artefactPath('ts-shim')))
      .digest('hex');
  const before = hash();
  const result = await rig.run(rig.task(['/proc/self/exe'])).catch((error: unknown) => error);
  const controller = rig.executor.controller(rig.task(['sleep', '1000']));
  await controller.prepare(signal);
  await controller.start(signal);
  const status = readFileSync(`/proc/${controller.status()!.pid}/status`, 'utf8');
  const shim = Number(/^PPid:\s*(\d+)/m.exec(status)![1]);

  // Refused while it runs, and by its seals afterwards.
  const write = () => writeSync(openSync(`/proc/${shim}/exe`, 'r+'), 'x');

  expect(write).toThrow(/ETXTBSY|EPERM/);
  expect(result).toBeDefined();
  expect(hash()).toBe(before);
  await controller.remove();
});

test('the filter’s and the mounts’ guards hold from inside', async () => {
  const { stdout } = await rig.run(
    rig.task([
      'sh',
      '-c',
      [
        'unshare -U true && echo userns',
        'mount -t tmpfs none /mnt && echo mounted',
        'for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do echo /x > $f && echo agent; done',
        'echo b > /proc/sysrq-trigger && echo sysrq',
        'echo 1 > /sys/kernel/uevent_helper && echo uevent',
        'cat /proc/kcore | head -c 1 | wc -c',
      ].join('; '),
    ]),
  );

  expect(stdout).toBe('0\n');
});

test('what a container leaves in its file tree can be removed, however deep or odd', async () => {
  const script = [
    'i=0; while [ $i -lt 400 ]; do mkdir aaaaaaaaaaaaaaaaaaaa; cd aaaaaaaaaaaaaaaaaaaa; i=$((i+1)); done; touch end',
    'cd /; ln -s / loop; ln -s /proc/self/root out; mkdir "-rf"; touch "new\nline"; mkdir -m 0 locked; mkfifo pipe',
  ].join('; ');
  const { exitCode } = await rig.run(rig.task(['sh', '-c', script]));
  await rig.executor.idle();

  expect(exitCode).toBe(0);
  expect(readdirSync(join(rig.options.dataDir, 'containers'))).toEqual([]);
  expect(readdirSync(join(rig.options.dataDir, 'trash'))).toEqual([]);
  expect(existsSync('/proc/self/root/bin')).toBe(true);
});

test('a fork bomb stays within its limit and dies with its container', async () => {
  const controller = rig.executor.controller(
    rig.task(
      ['sh', '-c', 'f() { f | f & }; f; echo lit; sleep 1000'],
      {},
      {
        resources: { limits: { nanoCpus: 2e8, memoryBytes: 0, pids: 64 }, reservations: undefined },
      },
    ),
  );
  await controller.prepare(signal);
  await controller.start(signal);
  await rig.logged(controller, 'lit');
  const { containerId } = controller.status()!;

  expect((await rig.executor.cgroups.usage(containerId)).pids).toBeLessThanOrEqual(64);
  await controller.remove();
  expect(await rig.executor.cgroups.list()).toEqual([]);
});

test('127 layers make one root', async () => {
  const layers = Array.from({ length: 126 }, (_, index) => {
    const path = join(rig.dir, `l${index}`);
    mkdirSync(path);
    writeFileSync(join(path, `from-${index}`), '');
    return path;
  });
  const many = await openRig({}, (layer) => [layer, ...layers]);

  const { stdout } = await many.run(many.task(['sh', '-c', 'ls / | grep -c from-']));

  expect(stdout).toBe('126\n');
  await many.close();
});

test.each([
  // A filter is in force before the command can do anything, and for what it starts.
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}',
    'not permitted',
  ],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}',
    'No space',
  ],
])('a seccomp profile of the user’s is kept to: %s', async (profile, words) => {
  const out = await rig.said(
    ['sh', '-c', 'mkdir /new; grep Seccomp: /proc/self/status'],
    {},
    {
      host: { securityOptions: [`seccomp=${profile}`] },
    },
  );
  expect(out).toContain(words);
  expect(out).toMatch(/Seccomp:\s+2/);
});

test('a rule for "all" devices of one number does not open all others (GHSA-g54h-m393-cpwq)', async () => {
  const resources = ContainerResources.create({ memorySwappiness: -1, deviceCgroupRules: ['a 1:5 rwm'] });
  const out = await rig.said(
    ['sh', '-c', 'mknod /mem c 1 1; cat /mem 2>&1 | head -c 60; mknod /zero c 1 5; head -c 2 /zero | wc -c'],
    {},
    { host: { resources } },
  );
  expect(out).toMatch(/Operation not permitted/);
  expect(out).toMatch(/2\n$/);
});

test('a privileged one has the host’s devices and may write its groups; no other may (CVE-2023-25809)', async () => {
  const script =
    'ls /dev | sort; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/probe 2>/dev/null && rmdir $d/probe && echo writable && break; done; grep -E "Seccomp:|CapBnd" /proc/self/status';
  const privileged = await rig.said(['sh', '-c', script], { privileged: true });
  const plain = await rig.said(['sh', '-c', script]);
  const opted = await rig.said(
    ['sh', '-c', script],
    {},
    {
      host: { securityOptions: ['writable-cgroups=true'] },
    },
  );

  const nodes = readdirSync('/dev', { withFileTypes: true })
    .filter((entry) => (entry.isCharacterDevice() || entry.isBlockDevice()) && entry.name !== 'console')
    .map(({ name }) => name);
  for (const name of nodes) expect(privileged.split('\n')).toContain(name);
  expect(privileged).toContain('writable');
  expect(privileged).toMatch(/Seccomp:\s+0/);
  expect(plain).not.toContain('writable');
  expect(opted).toContain('writable');
});
