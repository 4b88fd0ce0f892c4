import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { lstat, mkdir, readFile, readlink, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_UNPACK_BOUNDS, type UnpackBounds, unpackArchive } from '@tessera/native';
import { digestOf } from '@tessera/shared/digest';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compress, type LayerEntry, makeLayer, zstdOfZeros } from './testing/index.js';

// ts-unpack as it is built, on layers made for the purpose. `outside` stands for the host.
let directory: string;
let root: string;
let outside: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-unpack-'));
  root = join(directory, 'root');
  outside = join(directory, 'outside');
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'untouched');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const signal = new AbortController().signal;
async function* inPieces(bytes: Uint8Array, pieceBytes = 1000) {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
const unpackBytes = (
  bytes: Uint8Array,
  bounds: Partial<UnpackBounds> = {},
  mode: 'layer' | 'archive' = 'layer',
) =>
  unpackArchive(
    { mode, root, input: inPieces(bytes, 70_000), bounds: { ...DEFAULT_UNPACK_BOUNDS, ...bounds } },
    signal,
  );
const unpack = async (...entries: LayerEntry[]) => unpackBytes(await makeLayer(entries));
const at = (name: string) => join(root, name);

/** Whether overlayfs, with `root` over a layer that has `files`, shows each of them. */
async function seenThrough(files: readonly string[]): Promise<string[]> {
  const lower = join(directory, 'lower');
  for (const file of files) {
    await mkdir(join(lower, file, '..'), { recursive: true });
    writeFileSync(join(lower, file), 'lower');
  }
  const script = `mount -t overlay overlay -o lowerdir=root:lower outside && find outside -type f -printf '%P\\n'`;
  // In a mount namespace of its own, which takes the mount with it.
  const found = execFileSync('unshare', ['-m', 'sh', '-c', script], { cwd: directory, encoding: 'utf8' });
  return found.split('\n').filter((line) => files.includes(line));
}

test('content, owners, modes, times and links are as in the layer', async () => {
  const mtime = new Date('2001-02-03T04:05:06Z');
  await unpack(
    { name: './', type: 'directory', mode: 0o711 },
    { name: 'bin/', type: 'directory', mode: 0o1777, uid: 5, gid: 6, mtime },
    { name: 'bin/su', content: 'su', mode: 0o4755, mtime },
    { name: 'bin/game', content: 'g', mode: 0o2755, uid: 1000, gid: 200_000 },
    { name: 'bin/alias', type: 'link', linkname: 'bin/su' },
    { name: 'etc/a link', type: 'symlink', linkname: '/anywhere/../else', uid: 7, gid: 8 },
    { name: 'ünïcode/文', content: 'x' },
  );

  expect((await stat(root)).mode & 0o7777).toBe(0o711);
  const bin = await stat(at('bin'));
  expect([bin.mode & 0o7777, bin.uid, bin.gid, bin.mtime]).toEqual([0o1777, 5, 6, mtime]);
  const su = await stat(at('bin/su'));
  expect([su.mode & 0o7777, su.uid, su.mtime, su.nlink]).toEqual([0o4755, 0, mtime, 2]);
  expect((await stat(at('bin/alias'))).ino).toBe(su.ino);
  const game = await stat(at('bin/game'));
  expect([game.mode & 0o7777, game.uid, game.gid]).toEqual([0o2755, 1000, 200_000]);
  expect(await readlink(at('etc/a link'))).toBe('/anywhere/../else');
  expect((await lstat(at('etc/a link'))).gid).toBe(8);
  expect((await stat(at('etc'))).mode & 0o7777).toBe(0o755);
  expect(await readFile(at('ünïcode/文'), 'utf8')).toBe('x');
});

test('devices and fifos are made', async () => {
  await unpack(
    { name: 'null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
    { name: 'loop', type: 'block-device', devmajor: 7, devminor: 0, mode: 0o660 },
    { name: 'pipe', type: 'fifo', mode: 0o600 },
  );

  const [device, block, pipe] = await Promise.all(['null', 'loop', 'pipe'].map((name) => lstat(at(name))));
  expect([device!.isCharacterDevice(), device!.rdev, device!.mode & 0o777]).toEqual([true, 0x103, 0o666]);
  expect([block!.isBlockDevice(), block!.rdev]).toEqual([true, 0x700]);
  expect(pipe!.isFIFO()).toBe(true);
});

test('user attributes and file capabilities are kept', async () => {
  // VFS_CAP_REVISION_2, effective, CAP_NET_RAW.
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString('latin1');
  await unpack(
    { name: 'ping', content: 'p', mode: 0o755, uid: 9, xattrs: { 'security.capability': capability } },
    {
      name: 'note',
      xattrs: { 'user.note': 'hello', 'security.selinux': 'not ours', 'trusted.other': 'nor this' },
    },
  );

  expect(await xattrs('ping')).toEqual({ 'security.capability': capability });
  expect(await xattrs('note')).toEqual({ 'user.note': 'hello' });
});

/** A file's extended attributes, as GNU tar finds them. */
async function xattrs(name: string): Promise<Record<string, string>> {
  const options = ['--format=posix', '--xattrs', '--xattrs-include=*', '-C', root, '-c', name];
  const archive = execFileSync('tar', options);
  const found: Record<string, string> = {};
  // Records of a pax header: a length, a blank, KEYWORD=VALUE and a line's end; the value may have any bytes.
  for (const match of archive.toString('latin1').matchAll(/(\d+) SCHILY\.xattr\.([^=]+)=/g)) {
    const end = match.index + Number(match[1]) - 1;
    found[match[2]!] = archive.toString('latin1', match.index + match[0].length, end);
  }
  return found;
}

test('whiteouts and opaque directories hide what lies below', async () => {
  await unpack(
    { name: 'etc/.wh.gone' },
    { name: 'opaque/', type: 'directory' },
    { name: 'opaque/.wh..wh..opq' },
    { name: 'opaque/new', content: 'upper' },
    { name: '.wh..wh.plnk/', type: 'directory' },
    { name: 'dir/', type: 'directory' },
    { name: 'dir/new', content: 'upper' },
    { name: '.wh.dir' },
  );

  const seen = await seenThrough(['etc/gone', 'etc/kept', 'opaque/old', 'dir/old', 'other']);

  expect(seen.sort()).toEqual(['etc/kept', 'other']);
  expect(readdirSync(root).sort()).toEqual(['dir', 'etc', 'opaque']);
  expect((await lstat(at('etc/gone'))).rdev).toBe(0);
  expect(await readFile(at('dir/new'), 'utf8')).toBe('upper');
});

test('a whiteout never hides what the same layer has', async () => {
  await unpack(
    { name: '.wh.file' },
    { name: 'file', content: 'new' },
    { name: 'other', content: 'new' },
    { name: '.wh.other' },
    { name: '.wh.dir' },
    { name: 'dir/', type: 'directory' },
    { name: 'dir/new', content: 'new' },
  );

  expect(await seenThrough(['dir/old'])).toEqual([]);
  for (const name of ['file', 'other', 'dir/new']) expect(await readFile(at(name), 'utf8')).toBe('new');
});

test('of entries with one name the last one counts', async () => {
  await unpack(
    { name: 'a/b/c', content: 'deep' },
    { name: 'a', content: 'file' },
    { name: 'x', type: 'symlink', linkname: '/etc/passwd' },
    { name: 'x', content: 'file' },
  );

  expect(await readFile(at('a'), 'utf8')).toBe('file');
  expect((await lstat(at('x'))).isFile()).toBe(true);
});

test('links that stay inside are followed, as in layers with lib -> usr/lib', async () => {
  await unpack(
    { name: 'usr/lib/', type: 'directory' },
    { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
    { name: 'lib/so', content: 'so' },
  );

  expect(await readFile(at('usr/lib/so'), 'utf8')).toBe('so');
});

for (const compression of ['plain', 'gzip', 'zstd'] as const) {
  test(`the diff id is that of the uncompressed layer (${compression})`, async () => {
    const layer = await makeLayer([{ name: 'file', content: Buffer.alloc(300_000, 'abc') }]);
    const trailing = Buffer.concat([layer, Buffer.alloc(5000)]);
    const path = join(directory, 'blob');
    writeFileSync(path, compress(trailing, compression));

    const report = await unpackArchive({ mode: 'layer', root, input: openSync(path, 'r') }, signal);

    expect(report).toEqual({
      diffId: digestOf(trailing),
      bytes: 300_000,
      tarBytes: trailing.length,
      entries: 1,
    });
  });
}

const HOSTILE: readonly (readonly [string, RegExp, ...LayerEntry[]])[] = [
  [
    'a name with ..',
    /'\.\.\/outside\/secret': the name leads outside by '\.\.'/,
    { name: '../outside/secret', content: 'x' },
  ],
  ['.. in the middle', /leads outside by '\.\.'/, { name: 'a/../../outside/secret', content: 'x' }],
  ['an absolute name', /'\/etc\/x': the name is absolute/, { name: '/etc/x', content: 'x' }],
  [
    'a symbolic link that climbs out',
    /'link\/secret': 'link' passes through a symbolic link that leads outside/,
    { name: 'link', type: 'symlink', linkname: '../outside' },
    { name: 'link/secret', content: 'x' },
  ],
  [
    'an absolute symbolic link',
    /'link\/x': 'link' passes through a symbolic link that leads outside/,
    { name: 'link', type: 'symlink', linkname: '/tmp' },
    { name: 'link/x', content: 'x' },
  ],
  [
    'a chain of symbolic links',
    /leads outside/,
    { name: 'a/b/', type: 'directory' },
    { name: 'a/b/up', type: 'symlink', linkname: '../..' },
    { name: 'out', type: 'symlink', linkname: 'a/b/up/../outside' },
    { name: 'out/secret', content: 'x' },
  ],
  [
    'directories made through a symbolic link',
    /leads outside/,
    { name: 'link', type: 'symlink', linkname: '../outside' },
    { name: 'link/new/dir/', type: 'directory' },
  ],
  [
    'a whiteout through a symbolic link',
    /leads outside/,
    { name: 'link', type: 'symlink', linkname: '../outside' },
    { name: 'link/.wh.secret' },
  ],
  ['a whiteout of ..', /whiteout of nothing/, { name: 'a/.wh...' }],
  [
    'a hard link to outside',
    /hard link's target '\/etc\/passwd' is not in this archive/,
    { name: 'passwd', type: 'link', linkname: '/etc/passwd' },
  ],
  [
    'a hard link by ..',
    /'\.\.\/outside\/secret': the name leads outside/,
    { name: 'secret', type: 'link', linkname: '../outside/secret' },
  ],
  [
    'a hard link through a symbolic link',
    /is not in this archive/,
    { name: 'link', type: 'symlink', linkname: '../outside' },
    { name: 'secret', type: 'link', linkname: 'link/secret' },
  ],
  [
    "overlayfs's trusted attributes",
    /trusted\.overlay\.redirect is overlayfs's own/,
    { name: 'dir/', type: 'directory', xattrs: { 'trusted.overlay.redirect': '/etc' } },
  ],
  [
    "overlayfs's user attributes",
    /user\.overlay\.metacopy is overlayfs's own/,
    { name: 'file', xattrs: { 'user.overlay.metacopy': 'y' } },
  ],
  ['a file where a directory must be', /'file' is not a directory/, { name: 'file' }, { name: 'file/below' }],
];

for (const [what, message, ...entries] of HOSTILE) {
  test(`refused, with the host untouched: ${what}`, async () => {
    await expect(unpack(...entries)).rejects.toMatchObject({
      kind: 'invalidArgument',
      message: expect.stringMatching(message) as string,
    });

    expect(readdirSync(outside)).toEqual(['secret']);
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('untouched');
    expect(readdirSync(directory).sort()).toEqual(['outside', 'root']);
  });
}

test('refused: an owner that would wrap to another one', async () => {
  const layer = await makeLayer([{ name: 'file', uid: 0 }]);
  // base-256, GNU tar's way to write large numbers: 2^32, which as 32 bits is root.
  layer.set([0x80, 0, 0, 1, 0, 0, 0, 0], 108);
  const checksum = layer
    .subarray(0, 512)
    .reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
  layer.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');

  await expect(unpackBytes(layer)).rejects.toThrow(/owner 4294967296:0 is out of range/);
});

test('refused: an image archive with devices', async () => {
  const layer = await makeLayer([{ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }]);

  await expect(unpackBytes(layer, {}, 'archive')).rejects.toThrow(
    /'null': an entry of a kind that has no place/,
  );
});

test('refused: more entries than the bound', async () => {
  const layer = await makeLayer(Array.from({ length: 11 }, (_, number) => ({ name: `${number}` })));

  await expect(unpackBytes(layer, { entriesMax: 10 })).rejects.toMatchObject({
    kind: 'resourceExhausted',
    message: 'the archive has more than 10 entries',
  });
});

test('refused: more bytes than the bound', async () => {
  const layer = await makeLayer([{ name: 'file', content: Buffer.alloc(200_000) }]);

  await expect(unpackBytes(layer, { bytesMax: 150_000 })).rejects.toMatchObject({
    kind: 'resourceExhausted',
    message: expect.stringContaining('larger than 150000 bytes') as string,
  });
});

test('refused: a sparse file that claims more than the bound', async () => {
  const script = `truncate -s 100G sparse && tar -S --format=posix -cf sparse.tar sparse`;
  execFileSync('sh', ['-c', script], { cwd: outside });
  const layer = await readFile(join(outside, 'sparse.tar'));

  await expect(unpackBytes(layer)).rejects.toThrow(/'sparse': the archive's files are larger than/);
});

test('refused: a decompression bomb, after the bytes in which the ratio is let be', async () => {
  const bomb = zstdOfZeros(400);
  const bounds = { ratioFloorBytes: 2 ** 24, ratioMax: 100 };

  await expect(unpackBytes(bomb, bounds)).rejects.toMatchObject({
    kind: 'resourceExhausted',
    message: expect.stringMatching(/expands more than 100 times: .*decompression bomb/) as string,
  });
});

for (const compression of ['plain', 'gzip', 'zstd'] as const) {
  test(`refused: a truncated archive (${compression})`, async () => {
    const layer = await makeLayer([{ name: 'file', content: Buffer.from(randomText(50_000)) }]);
    const cut = compress(layer, compression).subarray(0, 20_000);

    await expect(unpackBytes(cut)).rejects.toMatchObject({
      kind: 'invalidArgument',
      message: expect.stringMatching(/truncated/i) as string,
    });
  });
}

test('refused: what is no archive at all, and compressions that are not read', async () => {
  await expect(unpackBytes(Buffer.from('hello'))).rejects.toThrow(/not a readable tar archive/);
  await expect(unpackBytes(Buffer.from('fd377a585a000000', 'hex'))).rejects.toThrow(/compressed with xz/);
  await expect(unpackBytes(Buffer.from('BZh91AY&SY'))).rejects.toThrow(/compressed with bzip2/);
});

test('refused: data that takes more memory to decompress than the bound', async () => {
  const frame = compress(await makeLayer([{ name: 'file', content: 'x' }]), 'zstd');
  // A window of 64 MiB (RFC 8878, 3.1.1.1.2).
  frame[5] = (26 - 10) << 3;

  await expect(unpackBytes(frame, { memoryMaxBytes: 2 ** 25 })).rejects.toMatchObject({
    kind: 'resourceExhausted',
    message: expect.stringContaining('needs more memory') as string,
  });
});

test('an aborted unpacker ends, and the reason is thrown', async () => {
  const abort = new AbortController();
  async function* endless() {
    yield await makeLayer([{ name: 'file', content: Buffer.alloc(1000) }]).then((layer) =>
      layer.subarray(0, 800),
    );
    abort.abort();
    await new Promise(() => {});
  }

  const unpacking = unpackArchive({ mode: 'layer', root, input: endless() }, abort.signal);

  await expect(unpacking).rejects.toMatchObject({ name: 'AbortError' });
});

test('a source that fails is the error, not an archive that seems to end', async () => {
  async function* failing() {
    yield Buffer.alloc(10);
    throw new Error('the client went away');
  }

  const unpacking = unpackArchive({ mode: 'layer', root, input: failing() }, signal);

  await expect(unpacking).rejects.toThrow('the client went away');
});

test('a refusal is told at once, also when the source sends nothing more', async () => {
  const layer = await makeLayer([{ name: '../out', content: 'x' }]);
  async function* stalling() {
    yield layer;
    await new Promise(() => {});
  }

  const unpacking = unpackArchive({ mode: 'layer', root, input: stalling() }, signal);

  await expect(unpacking).rejects.toThrow(/leads outside by '..'/);
});

/** Text that does not compress away. */
function randomText(length: number): string {
  let state = 1;
  return Array.from({ length }, () => {
    state = (state * 48271) % 2147483647;
    return String.fromCharCode(33 + (state % 90));
  }).join('');
}
