import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { putArchive, readPath, readRoot, statPath, writtenPaths } from '@tessera/native';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { pathIn } from './path-in.js';
import type { PersonContainer } from './testing/person.js';
import { anExec, openRig, type Rig, readAll } from './testing/rig.js';

// The files of real containers through ts-archive: what docker cp, diff and export do.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const IDLE = ['sh', '-c', 'echo up; while :; do sleep 0.05; done'];

let rig: Rig;
let host: string;
beforeAll(async () => {
  rig = await openRig();
  host = mkdtempSync(join(rig.dir, 'host-'));
});
afterAll(async () => {
  await rig.close();
});

async function started(script: string, spec: object = {}): Promise<PersonContainer> {
  const container = await rig.create(['sh', '-c', script], spec);
  const reader = await container.attach();
  await container.start();
  await readAll(reader, ({ stdout }) => stdout.includes('up'));
  return container;
}

async function contentOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

const get = ({ live, asked }: PersonContainer, path: string) =>
  live.useFiles(
    asked,
    async (files, _, both) => {
      const { facts, content } = await readPath(files, pathIn(path), both);
      return { facts, archive: await contentOf(content) };
    },
    signal,
  );

const stat = ({ live, asked }: PersonContainer, path: string) =>
  live.useFiles(asked, (files, _, both) => statPath(files, pathIn(path), both), signal);

const changes = async ({ live, asked }: PersonContainer) => {
  const found = await live.useFiles(asked, (files, _, both) => writtenPaths(files, 1_000, both), signal);
  return found.map(({ kind, path }) => `${kind[0]!.toUpperCase()} ${path}`);
};

async function put(
  { live, asked }: PersonContainer,
  path: string,
  archive: Buffer,
  { keepKind = false, user = '' } = {},
) {
  const input = (async function* () {
    for (let at = 0; at < archive.length; at += 65_536) yield archive.subarray(at, at + 65_536);
  })();
  await live.useFiles(
    asked,
    (files, _, both) => putArchive(files, pathIn(path).path, { keepKind, user }, input, both),
    signal,
  );
}

const tar = (...args: readonly string[]) => execFileSync('tar', args, { maxBuffer: 1 << 28 });
const names = (archive: Buffer) =>
  execFileSync('tar', ['-tf', '-'], { input: archive, maxBuffer: 1 << 28 })
    .toString()
    .trimEnd()
    .split('\n');
const member = (archive: Buffer, name: string) =>
  execFileSync('tar', ['-xOf', '-', name], { input: archive, maxBuffer: 1 << 28 }).toString();

/** An archive of files that a test names. */
function archiveOf(files: Readonly<Record<string, string>>): Buffer {
  const dir = mkdtempSync(join(rig.dir, 'pack-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
  const archive = tar('-C', dir, '-cf', '-', ...Object.keys(files));
  rmSync(dir, { recursive: true });
  return archive;
}

/** What a program in the container says. */
async function said(container: PersonContainer, script: string): Promise<string> {
  const exec = await container.createExec(anExec(['sh', '-c', script]));
  const streams = await exec.start({ stdout: true, stderr: true });
  return (await readAll(streams!)).stdout.trimEnd();
}

describe('a running container', () => {
  let container: PersonContainer;
  beforeAll(async () => {
    writeFileSync(join(host, 'given'), 'of the host');
    container = await started(
      `mkdir -p /data/deep; echo hello > /data/deep/file; ln /data/deep/file /data/hard
      ln -s /data/deep /data/link; mkfifo /data/fifo; echo tmp > /scratch/in-tmpfs; chmod 4750 /data/hard
      rm /bin/noise; rm -r /root; mkdir /root; touch /root/new; chmod 700 /tmp; ${IDLE[2]}`,
      {
        mounts: [
          { type: 'bind', source: host, target: '/host' },
          { type: 'bind', source: host, target: '/host-ro', readOnly: true },
          { type: 'tmpfs', source: '', target: '/scratch' },
        ] as never,
      },
    );
  });
  afterAll(() => container.remove());

  test('gives an archive of a directory under the name it was asked for by', async () => {
    expect(names((await get(container, '/data')).archive)).toEqual([
      'data/',
      'data/deep/',
      'data/deep/file',
      'data/fifo',
      'data/hard',
      'data/link',
    ]);
    expect(names((await get(container, '/data/link/')).archive)).toEqual(['link/', 'link/file']);
    expect(names((await get(container, '/data/link/.')).archive)).toEqual(['./', './file']);
    expect(names((await get(container, '/data/link')).archive)).toEqual(['link']);
    const { archive } = await get(container, '/data/deep/file');
    expect(member(archive, 'file')).toBe('hello\n');
  });

  test('its root is given without proc, sys and dev, with what its user has mounted', async () => {
    const all = names((await get(container, '/')).archive);
    expect(all).toContain('/host/given');
    expect(all).toContain('/scratch/in-tmpfs');
    expect(all.filter((name) => /^\/(proc|sys|dev)\/./.test(name))).toEqual([]);
  });

  test('tells what is at a path, and where a link leads in it', async () => {
    expect(await stat(container, '/data/hard')).toMatchObject({ mode: 0o104750, size: 6, link: '' });
    expect(await stat(container, '/data/link')).toMatchObject({ link: '/data/deep', size: 10 });
    expect((await stat(container, '/data/link/')).mode & 0o170000).toBe(0o040000);
    await expect(stat(container, '/data/none')).rejects.toMatchObject({ kind: 'notFound' });
    await expect(get(container, '/none/none')).rejects.toMatchObject({ kind: 'notFound' });
    await expect(stat(container, '/data/hard/')).rejects.toMatchObject({ kind: 'invalidArgument' });
  });

  test('takes files in, where its programs see them', async () => {
    await put(container, '/data', archiveOf({ 'sub/one': 'one', two: 'two' }));
    expect(await said(container, 'cat /data/sub/one /data/two')).toBe('onetwo');
    await put(container, '/host', archiveOf({ back: 'from outside' }));
    expect(readFileSync(join(host, 'back'), 'utf8')).toBe('from outside');
    await put(container, '/scratch', archiveOf({ three: 'three' }));
    expect(await said(container, 'cat /scratch/three')).toBe('three');
    await put(container, '/data/link', archiveOf({ four: 'four' }));
    expect(await said(container, 'cat /data/deep/four')).toBe('four');
  });

  test('what is taken in belongs to whom the archive says, or to its user', async () => {
    const dir = mkdtempSync(join(rig.dir, 'pack-'));
    writeFileSync(join(dir, 'owned'), 'x', { mode: 0o640 });
    const archive = tar('-C', dir, '--owner=77', '--group=78', '-cf', '-', 'owned');
    await put(container, '/tmp', archive);
    expect(await said(container, 'stat -c "%u:%g %a" /tmp/owned')).toBe('77:78 640');
    await put(container, '/tmp', archive, { user: 'app' });
    expect(await said(container, 'stat -c "%u:%g" /tmp/owned')).toBe('1000:1001');
    await expect(put(container, '/tmp', archive, { user: 'nobody-here' })).rejects.toThrow(
      'unable to find user',
    );
  });

  test('a kind is kept where it is asked for, in words that Docker has', async () => {
    const file = archiveOf({ deep: 'no directory' });
    await expect(put(container, '/data', file, { keepKind: true })).rejects.toThrow(
      'cannot overwrite directory "/data/deep" with non-directory "/data"',
    );
    const dir = mkdtempSync(join(rig.dir, 'pack-'));
    mkdirSync(join(dir, 'hard'));
    const directory = tar('-C', dir, '-cf', '-', 'hard');
    await expect(put(container, '/data', directory, { keepKind: true })).rejects.toThrow(
      'cannot overwrite non-directory "/data/hard" with directory "/data"',
    );
    await expect(put(container, '/data/hard', file)).rejects.toThrow('extraction point is not a directory');
    await expect(put(container, '/nowhere', file)).rejects.toMatchObject({ kind: 'notFound' });
  });

  test('what is mounted read-only stays as it is', async () => {
    await expect(put(container, '/host-ro', archiveOf({ x: 'x' }))).rejects.toThrow(
      'mounted volume is marked read-only',
    );
  });

  test('a mount gives its place to nothing', async () => {
    await expect(put(container, '/', archiveOf({ 'host-ro': 'x' }))).rejects.toMatchObject({
      kind: 'invalidArgument',
    });
  });

  test('what it has written is listed, and nothing of what a start makes', async () => {
    const all = await changes(container);
    expect(all).toContain('M /bin');
    expect(all).toContain('D /bin/noise');
    expect(all).toContain('M /root');
    expect(all).toContain('A /root/new');
    expect(all).toContain('A /data');
    expect(all).toContain('A /data/deep/file');
    expect(all).toContain('M /tmp');
    expect(all.filter((line) => /\/(etc|proc|sys|dev)(\/|$)/.test(line))).toEqual([]);
  });

  test('all of it is exported, without what is mounted', async () => {
    const archive = await container.live.useFiles(
      container.asked,
      (files, _, both) => contentOf(readRoot(files, both)),
      signal,
    );
    const all = names(archive);
    expect(all).toContain('data/deep/file');
    expect(all).toContain('bin/busybox');
    expect(all).not.toContain('bin/noise');
    expect(all).not.toContain('host/given');
  });
});

describe('a container that does not run', () => {
  test('shows what is mounted as a peer of the host', async () => {
    const container = await rig.create(['true'], {
      mounts: [{ type: 'bind', source: host, target: '/host', propagation: 'rshared' }] as never,
    });
    await put(container, '/host', archiveOf({ peer: 'of the host' }));
    expect(readFileSync(join(host, 'peer'), 'utf8')).toBe('of the host');
    await container.remove();
  });

  test('gives and takes files before its first start and after its end', async () => {
    const container = await rig.create(['sh', '-c', 'cat /given; echo of the run > /made'], {
      mounts: [{ type: 'bind', source: host, target: '/host' }] as never,
    });
    expect(await changes(container)).toEqual([]);
    await put(container, '/', archiveOf({ given: 'before the start\n' }));
    await put(container, '/host', archiveOf({ early: 'into a mount' }));
    expect(readFileSync(join(host, 'early'), 'utf8')).toBe('into a mount');
    const reader = await container.attach();
    await container.start();
    expect((await readAll(reader)).stdout).toBe('before the start\n');
    await container.exit();
    expect(member((await get(container, '/made')).archive, 'made')).toBe('of the run\n');
    expect(await changes(container)).toEqual(['A /given', 'A /host', 'A /made']);
    await container.remove();
  });

  test('a read-only root takes nothing in, its mounts do', async () => {
    const container = await rig.create(['true'], {
      readOnly: true,
      mounts: [{ type: 'bind', source: host, target: '/host' }] as never,
    });
    await expect(put(container, '/', archiveOf({ x: 'x' }))).rejects.toThrow(
      'container rootfs is marked read-only',
    );
    await put(container, '/host', archiveOf({ late: 'late' }));
    expect(readFileSync(join(host, 'late'), 'utf8')).toBe('late');
    await container.remove();
  });

  test('a start waits for who is at its files; a removal sends them away', async () => {
    const container = await rig.create(IDLE);
    let begun = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const endless = container.live.useFiles(
      container.asked,
      (files, _, both) =>
        putArchive(
          files,
          '/',
          { keepKind: false, user: '' },
          (async function* () {
            yield archiveOf({ first: 'first' }).subarray(0, 1024);
            begun();
            await new Promise((_resolve, reject) =>
              both.addEventListener('abort', () => reject(both.reason)),
            );
          })(),
          both,
        ),
      signal,
    );
    const refused = expect(endless).rejects.toMatchObject({ kind: 'notFound' });
    await beginning;
    const stop = new AbortController();
    const start = container.live.start(container.asked, stop.signal);
    stop.abort(new Error('not any more'));
    await expect(start).rejects.toThrow('not any more');
    await container.remove();
    await refused;
  });
});

describe('the files that every container is given', () => {
  const HOSTS = '/etc/hosts';
  const hosts = async (container: PersonContainer) => member((await get(container, HOSTS)).archive, 'hosts');

  test('are empty before its first start, and then what it sees, also after its end', async () => {
    const container = await rig.create(['sh', '-c', `echo added >> ${HOSTS}; echo up; read line`], {
      openStdin: true,
    });
    expect(await hosts(container)).toBe('');
    const reader = await container.attach();
    await container.start();
    await readAll(reader, ({ stdout }) => stdout.includes('up'));
    const seen = await said(container, `cat ${HOSTS}`);
    expect(seen).toMatch(/localhost.*\nadded$/s);
    expect(await hosts(container)).toBe(`${seen}\n`);
    expect((await stat(container, HOSTS)).size).toBe(seen.length + 1);
    const name = await said(container, 'cat /etc/hostname');
    expect(member((await get(container, '/etc')).archive, 'etc/hostname')).toBe(`${name}\n`);
    await container.stop(0);
    await container.exit();
    expect(await hosts(container)).toBe(`${seen}\n`);
    await container.remove();
  });

  test('stay in their places, whatever is to be put there', async () => {
    const container = await started(IDLE[2]!);
    const seen = await said(container, `cat ${HOSTS}`);
    await expect(put(container, '/etc', archiveOf({ hosts: 'other' }))).rejects.toThrow(
      'unlinkat /etc/hosts: device or resource busy',
    );
    await expect(put(container, '/', archiveOf({ 'etc/hosts': 'other' }))).rejects.toThrow(
      'unlinkat /etc/hosts: device or resource busy',
    );
    expect(await said(container, `cat ${HOSTS}`)).toBe(seen);
    await container.remove();
  });

  test('are read-only where the root is', async () => {
    const container = await started(IDLE[2]!, { readOnly: true });
    expect(await said(container, `echo x 2>&1 >> ${HOSTS} || echo refused`)).toContain('refused');
    expect(await hosts(container)).toContain('localhost');
    await container.remove();
  });

  test.each([
    ['a link to a file of the host', (victim: string) => `ln -s ../../../../../..${victim} ${HOSTS}`],
    ['a directory', () => `mkdir ${HOSTS}`],
    ['a mount of its own', () => `mkdir ${HOSTS}; mount -t proc proc ${HOSTS}`],
    ['a link to its root', () => `ln -s / ${HOSTS}`],
    [
      'a link in place of their directory',
      (victim: string) => `umount /etc/hostname; umount /etc/resolv.conf; rm -r /etc; ln -s ${victim}.d /etc`,
    ],
  ])('are nowhere else where the container has put %s', async (_, make) => {
    const victim = join(host, 'hosts');
    writeFileSync(victim, 'of the host');
    const container = await rig.create(
      ['unshare', '-m', 'sh', '-c', `set -e; umount ${HOSTS}; rm ${HOSTS}; ${make(victim)}; ${IDLE[2]}`],
      { privileged: true },
    );
    const reader = await container.attach();
    await container.start();
    await readAll(reader, ({ stdout }) => stdout.includes('up'));
    const look = () => get(container, HOSTS).then(({ archive }) => names(archive));
    const found = await look().catch(({ kind }) => [kind]);
    expect([['hosts'], ['hosts/'], ['notFound']]).toContainEqual(found);
    await put(container, '/etc', archiveOf({ hosts: 'evil' })).catch(() => {});
    await container.stop(0);
    await container.exit();
    await look().catch(() => {});
    await put(container, '/etc', archiveOf({ hosts: 'evil' })).catch(() => {});
    expect(names((await get(container, '/bin/')).archive)).toContain('bin/busybox');
    expect(readFileSync(victim, 'utf8')).toBe('of the host');
    await container.remove();
  });
});

describe('someone hostile', () => {
  /** Swaps what is at a path of its own between a directory and links that lead out, as fast as it can. */
  const SWAPPER = `mkdir -p /w/a; cd /w; echo mine > a/secret; ln -s / out; ln -s ../../../../../../../../.. up; echo up
    while :; do mv -T a b 2>/dev/null; mv -T out a 2>/dev/null; mv -T a out 2>/dev/null; mv -T b a 2>/dev/null; done`;

  test('cannot make what is read or written leave its root by swapping links', async () => {
    const marker = `tessera-${process.pid}`;
    writeFileSync(join(host, 'secret'), 'of the host');
    const container = await started(SWAPPER.replaceAll('mv -T', 'busybox mv -T'));
    for (let round = 0; round < 40; round++) {
      await put(container, '/w/a', archiveOf({ [marker]: 'x' })).catch(() => {});
      await get(container, '/w/a/').catch(() => {});
      const { archive } = await get(container, '/w').catch(() => ({ archive: undefined }));
      if (archive) for (const name of names(archive)) expect(name).toMatch(/^w(\/(a|b|out|up)(\/.*)?)?\/?$/);
    }
    expect(existsSync(`/${marker}`)).toBe(false);
    await container.remove();
  });

  test.each([
    ['a link to the root of the host', 'ln -s / /w/l', '/w/l/', 'l/'],
    ['a link that climbs', 'ln -s ../../../../../../.. /w/l', '/w/l/', 'l/'],
    ['a link to its own proc', 'ln -s /proc/1/root /w/l', '/w/l/', undefined],
  ])('%s leads nowhere but into its root', async (_, make, path, first) => {
    const container = await started(`mkdir /w; echo inside > /only-here; ${make}; ${IDLE[2]}`);
    if (first === undefined) await expect(get(container, path)).rejects.toMatchObject({ kind: 'notFound' });
    else expect(names((await get(container, path)).archive)).toContain(`${first}only-here`);
    await container.remove();
  });

  test('archives that climb, link outside or overwrite through a link change nothing of the host', async () => {
    const container = await started(IDLE[2]!);
    const victim = join(host, 'victim');
    writeFileSync(victim, 'untouched');
    const dir = mkdtempSync(join(rig.dir, 'pack-'));
    writeFileSync(join(dir, 'x'), 'evil');
    const climbing = tar('-C', dir, '--transform', 's,^x,../../../../x,', '-cPf', '-', 'x');
    await expect(put(container, '/tmp', climbing)).rejects.toThrow('is outside of "/tmp"');
    const absolute = tar('-C', dir, '--transform', 's,^x,/abs/x,', '-cPf', '-', 'x');
    await put(container, '/tmp', absolute);
    expect(await said(container, 'cat /tmp/abs/x')).toBe('evil');

    symlinkSync(host, join(dir, 'link'));
    const link = tar('-C', dir, '-cf', '-', 'link');
    await put(container, '/tmp', link);
    await put(container, '/tmp', archiveOf({ 'link/victim': 'evil' })).catch(() => {});
    expect(readFileSync(victim, 'utf8')).toBe('untouched');
    expect(existsSync(join(host, 'x'))).toBe(false);
    await container.remove();
  });

  test('devices and fifos are copied as what they are, and never opened', async () => {
    const container = await started(
      `mkdir /w; mknod /w/disk b 8 0; mknod /w/null c 1 3; mkfifo /w/pipe; ${IDLE[2]}`,
    );
    const { archive } = await get(container, '/w');
    const listed = execFileSync('tar', ['-tvf', '-'], { input: archive }).toString();
    expect(listed).toMatch(/^b.* 8,0 .*w\/disk$/m);
    expect(listed).toMatch(/^c.* 1,3 .*w\/null$/m);
    expect(listed).toMatch(/^p.*w\/pipe$/m);
    await put(container, '/tmp', archive);
    expect(await said(container, 'stat -c %F:%t:%T /tmp/w/disk')).toBe('block special file:8:0');
    await container.remove();
  });

  test('a huge sparse file costs no memory, and whoever has enough of it may go', async () => {
    const container = await started(
      `dd if=/dev/zero of=/huge bs=1 count=1 seek=$((1 << 42)) 2>/dev/null; ${IDLE[2]}`,
    );
    const stop = new AbortController();
    let bytes = 0;
    const reading = container.live.useFiles(
      container.asked,
      async (files, _, both) => {
        const { content } = await readPath(files, pathIn('/huge'), both);
        for await (const piece of content) {
          bytes += piece.length;
          if (bytes > 1 << 24) stop.abort(new Error('enough'));
        }
      },
      stop.signal,
    );
    await expect(reading).rejects.toThrow('enough');
    expect(bytes).toBeLessThan(1 << 28);
    await container.remove();
  });

  test('a directory deeper than a path may be long is given in whole', async () => {
    const part = 'd'.repeat(200);
    const deep = `i=0; while [ $i -lt 15 ]; do mkdir ${part}; cd ${part}; i=$((i+1)); done`;
    const container = await started(
      `mkdir -p /w/a /w/b; cd /w/b; ${deep}; echo end > end; cd /w/a; ${deep}; busybox mv /w/b .; ${IDLE[2]}`,
    );
    const all = names((await get(container, '/w')).archive);
    expect(all.at(-1)).toBe(`w/a/${`${part}/`.repeat(15)}b/${`${part}/`.repeat(15)}end`);
    await container.remove();
  });
});

test('so many may be at files at once, and one more is refused until one has done', async () => {
  const container = await started(`mkdir /taken; ${IDLE[2]}`);
  const { live, asked } = container;
  const stop = new AbortController();
  let begun = 0;
  const stalled = async function* () {
    begun++;
    yield Buffer.alloc(512);
    await new Promise(() => {});
  };
  const putting = Array.from({ length: 64 }, () =>
    live.useFiles(
      asked,
      (files, _, both) => putArchive(files, '/taken', { keepKind: false, user: '' }, stalled(), both),
      stop.signal,
    ),
  );
  const ends = Promise.allSettled(putting);
  await vi.waitUntil(() => begun === putting.length, { timeout: 60_000 });

  await expect(stat(container, '/taken')).rejects.toMatchObject({ kind: 'resourceExhausted' });
  stop.abort(new Error('enough'));
  await ends;

  expect(await stat(container, '/taken')).toMatchObject({ link: '' });
  await container.remove();
});

test('a helper that is killed is an error, and the next one does the same work', async () => {
  const container = await started(`mkdir /taken; ${IDLE[2]}`);
  const { live, asked } = container;
  const archive = archiveOf({ whole: 'x'.repeat(100_000) });
  const stalled = async function* () {
    yield archive.subarray(0, 2_048);
    await new Promise(() => {});
  };
  const putting = live.useFiles(
    asked,
    (files, _, both) => putArchive(files, '/taken', { keepKind: false, user: '' }, stalled(), both),
    signal,
  );
  putting.catch(() => {});
  await vi.waitUntil(() => helpers().length > 0, { timeout: 60_000 });
  for (const pid of helpers()) process.kill(pid, 'SIGKILL');

  await expect(putting).rejects.toThrow('ts-archive');

  await put(container, '/taken', archive);
  expect(await said(container, 'wc -c </taken/whole')).toBe('100000');
  await container.remove();
});

test('a helper whose work nobody has begun to read goes with whoever asked for it', async () => {
  const container = await started(`mkdir /taken; ${IDLE[2]}`);
  const stop = new AbortController();
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();

  const asking = container.live.useFiles(
    container.asked,
    async (files, _, both) => {
      await readPath(files, pathIn('/bin'), both);
      throw new Error('the reader has gone');
    },
    stop.signal,
  );
  await expect(asking).rejects.toThrow('the reader has gone');
  stop.abort(new Error('so has the stream'));

  await vi.waitUntil(() => helpers().length === 0 && descriptors() <= before, { timeout: 60_000 });
  await container.remove();
});

/** Those that this process has started. */
function helpers(): number[] {
  return execFileSync('ps', ['-eo', 'pid,ppid,comm'])
    .toString()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, name]) => name === 'ts-archive' && Number(parent) === process.pid)
    .map(([pid]) => Number(pid));
}

test('nothing is left of a helper whose work is done', () => {
  expect(helpers()).toEqual([]);
});
