import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { artefactPath } from '@tessera/native';
import { ContainerResources } from '@tessera/shared/model';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { anExec, anImageConfig, directoryImages, openRig, type Rig, readAll } from './testing/rig.js';

// More of what others have suffered, where the host lends a directory, or the container runs already.

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(() => rig.close());

/** A directory of the host's that some container has got ready for the next one, and a file that is none of theirs. */
function aTrap(): { readonly dir: string; readonly victim: string } {
  const dir = join(rig.dir, `trap-${traps++}`);
  mkdirSync(dir);
  const victim = join(rig.dir, 'victim');
  writeFileSync(victim, 'untouched');
  chmodSync(victim, 0o600);
  return { dir, victim };
}
let traps = 0;

const over = (source: string, target: string) => ({
  mounts: [
    { type: 'bind', source, target, readOnly: false, propagation: '', tmpfsSizeBytes: 0, tmpfsMode: 0 },
  ] as never,
});
const untouched = (victim: string) => {
  const { mode, uid } = statSync(victim);
  expect([readFileSync(victim, 'utf8'), mode & 0o7777, uid]).toEqual(['untouched', 0o600, 0]);
};

describe('a /dev that somebody else has filled', () => {
  test.each([
    ['a link', (path: string, victim: string) => symlinkSync(victim, path)],
    ['a link to a file of proc', (path: string) => symlinkSync('/proc/sys/kernel/core_pattern', path)],
    ['a fifo', (path: string) => execFileSync('mkfifo', [path])],
    ['another device', (path: string) => execFileSync('mknod', [path, 'c', '1', '5'])],
  ])('%s in place of /dev/null masks nothing: the start is refused (CVE-2025-31133)', async (_, plant) => {
    const { dir, victim } = aTrap();
    plant(join(dir, 'null'), victim);

    await expect(
      rig.said(['cat', '/proc/kcore'], { openStdin: true, ...over(dir, '/dev') }),
    ).rejects.toMatchObject({
      exitCode: 125,
    });
    untouched(victim);
  });

  test('a link in place of /dev/pts or /dev/console leads the terminal nowhere (CVE-2025-52565)', async () => {
    const { dir, victim } = aTrap();
    execFileSync('mknod', [join(dir, 'null'), 'c', '1', '3']);
    symlinkSync(victim, join(dir, 'console'));
    symlinkSync('/proc', join(dir, 'pts'));

    await expect(rig.said(['true'], { tty: true, ...over(dir, '/dev') })).rejects.toMatchObject({
      exitCode: 125,
    });
    untouched(victim);
    rmSync(join(dir, 'console'));
    // Without that link it is made where it belongs, and is still no file of the host's.
    await rig.said(['sh', '-c', 'echo x > /dev/console'], { tty: true, ...over(dir, '/dev') });
    expect(statSync(join(dir, 'console')).size).toBe(0);
  });
});

describe('ids past 31 bits make nobody root (CVE-2024-40635, CVE-2026-46680)', () => {
  const HUGE = [
    '2147483648',
    '4294967295',
    '4294967296',
    '18446744073709551616',
    '-1',
    '0x0',
    '+0',
    '1:4294967296',
  ];

  test.each(HUGE)('%s as the user of an image', async (user) => {
    const other = await openRig({}, (layer) => [layer]);
    onTestFinished(() => other.close());
    const image = await openRig({ images: directoryImages([other.layer], anImageConfig({ user })) });
    onTestFinished(() => image.close());

    await expect(image.run(image.task(['id', '-u']))).rejects.toMatchObject({ exitCode: 125 });
  });

  test('as the user of an exec, and in the container’s own databases', async () => {
    const container = await rig.create([
      'sh',
      '-c',
      `printf 'big:x:4294967296:0::/:\\nneg:x:-1:0::/:\\ngid:x:5:4294967296::/:\\n' >> /etc/passwd
       printf 'big:x:4294967296:\\n' >> /etc/group; echo up; while :; do sleep 0.1; done`,
    ]);
    const streams = await container.attach();
    await container.start();
    await readAll(streams, ({ stdout }) => stdout === 'up\n');

    for (const user of [...HUGE, 'big', 'neg', 'gid', '5:big']) {
      const exec = await container.createExec(anExec(['id', '-u'], { user }));
      const outcome = await exec.start({ stdout: true, stderr: true }).then(
        async (output) => (await readAll(output!)).stdout,
        () => 'refused',
      );
      expect([user, outcome]).toEqual([user, 'refused']);
    }
    await container.remove();
  });
});

test.each([
  ['a fifo', 'rm /etc/passwd; mkfifo /etc/passwd'],
  ['a device without an end', 'ln -sf /dev/zero /etc/passwd'],
  ['a file of proc', 'ln -sf /proc/1/environ /etc/passwd'],
  ['a root by a magic link', 'rm -r /etc; ln -s /proc/1/root/tmp /etc'],
])('an exec looks for its user in no %s, and does not wait for it', async (_, script) => {
  const container = await rig.create([
    'sh',
    '-c',
    `${script.replaceAll('rm ', 'busybox rm ')}; echo up; while :; do sleep 0.1; done`,
  ]);
  const streams = await container.attach();
  await container.start();
  await readAll(streams, ({ stdout }) => stdout === 'up\n');

  const exec = await container.createExec(anExec(['true'], { user: 'app' }));
  await expect(exec.start(undefined)).rejects.toMatchObject({ exitCode: 125 });
  const byNumber = await container.createExec(anExec(['grep', '^Uid', '/proc/self/status'], { user: '7' }));
  const output = await byNumber.start({ stdout: true, stderr: true });
  expect((await readAll(output!)).stdout).toBe('Uid:\t7\t7\t7\t7\n');
  await container.remove();
});

describe('what a process may do', () => {
  const SETS = 'grep -E "^Cap(Inh|Prm|Eff|Bnd|Amb)" /proc/self/status';
  const setsOf = (text: string) =>
    Object.fromEntries([...text.matchAll(/^Cap(\w+):\s*(\w+)/gm)].map(([, name, bits]) => [name, bits]));
  const NONE = '0'.repeat(16);
  const NET_ADMIN = '0000000000001000';

  test('with no capability left, all five sets are empty (youki#3434)', async () => {
    const out = await rig.said(['sh', '-c', SETS], { capDrop: ['ALL'] });
    expect(setsOf(out)).toEqual({ Inh: NONE, Prm: NONE, Eff: NONE, Bnd: NONE, Amb: NONE });
  });

  test('a user other than root has none, and inherits none (CVE-2022-24769, CVE-2022-29162)', async () => {
    const part = { capDrop: ['ALL'], capAdd: ['NET_ADMIN'] };
    const bounded = { Inh: NONE, Prm: NONE, Eff: NONE, Bnd: NET_ADMIN, Amb: NONE };
    expect(setsOf(await rig.said(['sh', '-c', SETS], { ...part, user: 'app' }))).toEqual(bounded);

    const container = await rig.create(['sleep', '1000'], part);
    await container.start();
    const sets = async (user: string) => {
      const exec = await container.createExec(anExec(['sh', '-c', SETS], { user }));
      return setsOf((await readAll((await exec.start({ stdout: true, stderr: true }))!)).stdout);
    };
    expect(await sets('app')).toEqual(bounded);
    expect(await sets('')).toEqual({ ...bounded, Prm: NET_ADMIN, Eff: NET_ADMIN });
    await container.remove();
  });

  test('a rule gives the rights it names and no more (GHSA-g54h-m393-cpwq)', async () => {
    const resources = ContainerResources.create({ memorySwappiness: -1, deviceCgroupRules: ['c 1:1 r'] });
    const script = `mknod /mem c 1 1; (exec 3</mem) && echo read; (exec 3>/mem) 2>/dev/null && echo wrote
      mknod /kmsg c 1 11; (exec 3</kmsg) 2>/dev/null && echo another; true`;
    const out = await rig.said(['sh', '-c', script], {}, { host: { resources } });
    // Reading needs CAP_SYS_RAWIO besides: what counts is that nothing is written.
    expect(out).not.toMatch(/wrote|another/);
  });

  test('nothing of the host shows where its counters would (moby’s masks)', async () => {
    const script = `wc -c < /proc/interrupts; ls /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v :
      for dir in /sys/devices/system/cpu/cpu*/thermal_throttle; do ls $dir 2>/dev/null; done; true`;
    expect((await rig.said(['sh', '-c', script])).trim().split(/\s+/)).toEqual(['0']);
  });
});

test('helpers that work on foreign files load nothing, from there or anywhere (CVE-2026-41567)', () => {
  const PT_DYNAMIC = 2;
  const PT_INTERP = 3;
  for (const name of ['ts-shim', 'ts-unpack', 'ts-archive'] as const) {
    const elf = readFileSync(artefactPath(name));
    const [at, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
    const types = Array.from({ length: count }, (_, i) => elf.readUInt32LE(at + i * size));
    expect(types.length).toBeGreaterThan(0);
    expect([name, types.filter((type) => type === PT_DYNAMIC || type === PT_INTERP)]).toEqual([name, []]);
  }
});

test('what nobody but root may see lies where nobody else may enter (CVE-2021-41091)', async () => {
  const container = await rig.create(['sleep', '1000']);
  await container.start();
  const { dataDir, runDir } = rig.options;
  for (const dir of [join(dataDir, 'containers'), join(runDir, 'containers'), join(dataDir, 'trash')])
    if (existsSync(dir)) expect([dir, statSync(dir).mode & 0o077]).toEqual([dir, 0]);
  await container.remove();
});
