import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Header, pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeApi, reply } from '../../testing/fake-api.js';

const ARCHIVE = '/containers/web/archive';
const DIRECTORY = 2 ** 31 + 0o755;
const LINK = 2 ** 27 + 0o777;

let api: FakeApi;
let top: string;
let here: string;
beforeEach(async () => {
  api = await FakeApi.start();
  top = mkdtempSync(join(tmpdir(), 'tsctl-cp-'));
  here = join(top, 'here');
  mkdirSync(here);
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  rmSync(top, { recursive: true });
});

type Member = Partial<Header> & Pick<Header, 'name'> & { readonly content?: string };

async function archiveOf(...members: readonly Member[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = '', ...header } of members) archive.entry(header, content);
  archive.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces);
}

const statHeader = (mode: number, linkTarget = '') =>
  Buffer.from(JSON.stringify({ name: 'x', size: 1, mode, mtime: '', linkTarget })).toString('base64');

/** What is at each path of the container; elsewhere is nothing. */
function inside(paths: Readonly<Record<string, { readonly mode: number; readonly link?: string }>>): void {
  api.on(`HEAD ${ARCHIVE}`, ({ query }: { query: URLSearchParams }, response: never) => {
    const found = paths[query.get('path') ?? ''];
    const answer = response as import('node:http').ServerResponse;
    if (found) answer.setHeader('X-Docker-Container-Path-Stat', statHeader(found.mode, found.link));
    answer.writeHead(found ? 200 : 404).end();
  });
}

function gives(archive: Buffer, mode: number): void {
  api.on(`GET ${ARCHIVE}`, (_: unknown, response: never) => {
    const answer = response as import('node:http').ServerResponse;
    answer.setHeader('X-Docker-Container-Path-Stat', statHeader(mode));
    answer.writeHead(200).end(archive);
  });
}

/** Names in what was uploaded last. */
function uploaded(): string[] {
  const { body } = api.calls.at(-1)!;
  return execFileSync('tar', ['-tf', '-'], { input: body as string })
    .toString()
    .trimEnd()
    .split('\n');
}

describe('out of a container', () => {
  test('a file gets the name it is copied to, or goes into the directory', async () => {
    gives(await archiveOf({ name: 'file', mode: 0o4755, content: 'hello' }), 0o4755);

    expect(await api.tsctl('cp', 'web:/tmp/file', here)).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await api.tsctl('cp', 'web:/tmp/file', `${here}/other`)).toMatchObject({ code: 0 });

    expect(readdirSync(here).sort()).toEqual(['file', 'other']);
    expect(readFileSync(`${here}/other`, 'utf8')).toBe('hello');
    // Rights of another than who copies do not come along.
    expect(lstatSync(`${here}/file`).mode & 0o7777).toBe(0o755);
  });

  test('a directory with all it has becomes one of the new name', async () => {
    gives(
      await archiveOf(
        { name: 'dir/', type: 'directory', mode: 0o555 },
        { name: 'dir/a', content: 'A' },
        { name: 'dir/hard', type: 'link', linkname: 'dir/a' },
        { name: 'dir/link', type: 'symlink', linkname: 'a' },
      ),
      DIRECTORY,
    );

    expect(await api.tsctl('cp', 'web:/dir', `${here}/new`)).toMatchObject({ code: 0, stderr: '' });

    expect(readdirSync(`${here}/new`).sort()).toEqual(['a', 'hard', 'link']);
    expect(lstatSync(`${here}/new/hard`).ino).toBe(lstatSync(`${here}/new/a`).ino);
    expect(readlinkSync(`${here}/new/link`)).toBe('a');
    expect(lstatSync(`${here}/new`).mode & 0o777).toBe(0o555);
  });

  test('- gives the archive as it is', async () => {
    gives(Buffer.from('the archive'), 0o644);

    expect(await api.tsctl('cp', 'web:/tmp/file', '-')).toMatchObject({ code: 0, stdout: 'the archive' });
  });

  test('-L asks for what a link leads to, and keeps its name', async () => {
    inside({ '/tmp/link': { mode: LINK, link: '/tmp/target' } });
    gives(await archiveOf({ name: 'target', content: 'hello' }), 0o644);

    expect(await api.tsctl('cp', '-L', 'web:/tmp/link', here)).toMatchObject({ code: 0 });

    expect(api.calls.at(-1)?.query.get('path')).toBe('/tmp/target');
    expect(readdirSync(here)).toEqual(['link']);
  });

  test.each<readonly [string, RegExp, readonly Member[]]>([
    ['a name that climbs', /outside of/, [{ name: 'x/../../evil', content: 'x' }]],
    [
      'a link and a name through it',
      /invalid symlink|leads through/,
      [
        { name: 'x', type: 'symlink', linkname: '..' },
        { name: 'x/evil', content: 'x' },
      ],
    ],
    [
      'an absolute link and a name through it',
      /leads through/,
      [
        { name: 'x', type: 'symlink', linkname: '/tmp' },
        { name: 'x/evil', content: 'x' },
      ],
    ],
    [
      'a link inside and a name through it',
      /leads through/,
      [
        { name: 'd/', type: 'directory' },
        { name: 'x', type: 'symlink', linkname: 'd' },
        { name: 'x/evil', content: 'x' },
      ],
    ],
    ['a hard link to what lies outside', /outside of/, [{ name: 'x', type: 'link', linkname: '../secret' }]],
    [
      'a hard link through a link',
      /leads through/,
      [
        { name: 'x', type: 'symlink', linkname: '/' },
        { name: 'y', type: 'link', linkname: 'x/etc/passwd' },
      ],
    ],
    ['a file in place of a directory', /cannot overwrite directory/, [{ name: 'there', content: 'x' }]],
  ])('%s is refused, and nothing is made outside', async (_, message, members) => {
    mkdirSync(`${here}/there`);
    writeFileSync(`${top}/secret`, 'secret');
    gives(await archiveOf(...members), DIRECTORY);

    const { code, stderr } = await api.tsctl('cp', 'web:/x', here);

    expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
    expect(readdirSync(top).sort()).toEqual(['here', 'secret']);
    expect(lstatSync(`${top}/secret`).nlink).toBe(1);
    expect(existsSync('/tmp/evil')).toBe(false);
  });

  test('a link that is there is replaced, and not written through', async () => {
    writeFileSync(`${top}/secret`, 'secret');
    symlinkSync('../secret', `${here}/file`);
    gives(await archiveOf({ name: 'file', content: 'hello' }), 0o644);

    expect(await api.tsctl('cp', 'web:/tmp/file', here)).toMatchObject({ code: 0 });

    expect(readFileSync(`${top}/secret`, 'utf8')).toBe('secret');
    expect(readFileSync(`${here}/file`, 'utf8')).toBe('hello');
  });

  test('devices are left out, and said to be', async () => {
    gives(
      await archiveOf(
        { name: 'dev/', type: 'directory' },
        { name: 'dev/sda', type: 'block-device', devmajor: 8, devminor: 0 },
        { name: 'dev/file', content: 'x' },
      ),
      DIRECTORY,
    );

    expect(await api.tsctl('cp', 'web:/dev', here)).toMatchObject({
      code: 1,
      stderr: '"dev/sda" is a device or FIFO: left out\n',
    });
    expect(readdirSync(`${here}/dev`)).toEqual(['file']);
  });

  test('an archive that breaks off is a failure', async () => {
    const archive = await archiveOf({ name: 'file', content: 'x'.repeat(5_000) });
    gives(archive.subarray(0, 2_000), 0o644);

    expect(await api.tsctl('cp', 'web:/tmp/file', here)).toMatchObject({
      code: 1,
      stderr: 'unpacking what came: Unexpected end of data\n',
    });
  });

  test('what is missing is told in the words of docker', async () => {
    api.on(`GET ${ARCHIVE}`, (_: unknown, response: never) =>
      reply(response, 404, { message: 'Could not find the file /x in container web' }),
    );

    expect(await api.tsctl('cp', 'web:/x', here)).toMatchObject({
      code: 1,
      stderr: 'Error response from daemon: Could not find the file /x in container web\n',
    });
    expect((await api.tsctl('cp', 'web:/x', `${here}/no/where`)).stderr).toBe(
      `invalid output path: directory "${here}/no" does not exist\n`,
    );
  });
});

describe('into a container', () => {
  beforeEach(() => {
    api.on(`PUT ${ARCHIVE}`, {});
  });

  test('into a directory that is there, or as the name that is not', async () => {
    inside({ '/tmp': { mode: DIRECTORY } });
    mkdirSync(`${here}/dir/below`, { recursive: true });
    writeFileSync(`${here}/dir/below/file`, 'x'.repeat(3_000));
    writeFileSync(`${here}/dir/empty`, '');
    symlinkSync('below', `${here}/dir/link`);

    expect(await api.tsctl('cp', '-a', `${here}/dir`, 'web:/tmp')).toMatchObject({ code: 0, stderr: '' });
    expect(uploaded()).toEqual(['dir/', 'dir/below/', 'dir/below/file', 'dir/empty', 'dir/link']);
    expect(Object.fromEntries(api.calls.at(-1)!.query)).toEqual({
      path: '/tmp',
      noOverwriteDirNonDir: 'true',
      copyUIDGID: 'true',
    });

    await api.tsctl('cp', `${here}/dir`, 'web:/srv/new');
    expect([uploaded()[0], api.calls.at(-1)!.query.get('path')]).toEqual(['new/', '/srv']);

    await api.tsctl('cp', `${here}/dir/.`, 'web:/tmp');
    expect(uploaded().slice(0, 2)).toEqual(['./', './below/']);
  });

  test('a link in the container is followed', async () => {
    inside({ '/var/run': { mode: LINK, link: '/run' }, '/run': { mode: DIRECTORY } });
    writeFileSync(`${here}/file`, 'x');

    expect(await api.tsctl('cp', `${here}/file`, 'web:/var/run')).toMatchObject({ code: 0 });

    expect([uploaded(), api.calls.at(-1)!.query.get('path')]).toEqual([['file'], '/run']);
  });

  test('-L packs what a link here leads to, under its name', async () => {
    inside({ '/tmp': { mode: DIRECTORY } });
    writeFileSync(`${here}/file`, 'x');
    symlinkSync('file', `${here}/link`);

    await api.tsctl('cp', '-L', `${here}/link`, 'web:/tmp');

    expect(
      execFileSync('tar', ['-tvf', '-'], { input: api.calls.at(-1)!.body as string }).toString(),
    ).toMatch(/^-.* link\n$/);
  });

  test.each([
    [['DIR', 'web:/etc/passwd'], 'cannot copy directory'],
    [['FILE', 'web:/no/'], 'no such directory'],
    [['-', 'web:/etc/passwd'], 'destination "web:/etc/passwd" must be a directory'],
    [['FILE', 'web:/dev/null'], 'destination "web:/dev/null" must be a directory or a regular file'],
    [['DIR/nowhere', 'web:/tmp'], 'lstat DIR/nowhere: no such file or directory'],
    [['web:/a', 'db:/b'], 'copying between containers is not supported'],
    [['FILE', 'DIR'], 'must specify at least one container source'],
  ])('%j is refused: %s', async (words, message) => {
    inside({
      '/tmp': { mode: DIRECTORY },
      '/etc/passwd': { mode: 0o644 },
      '/dev/null': { mode: 2 ** 26 + 2 ** 21 },
    });
    writeFileSync(`${here}/file`, 'x');
    const filled = (text: string) => text.replace('DIR', here).replace('FILE', `${here}/file`);

    expect(await api.tsctl('cp', ...words.map(filled))).toEqual({
      code: 1,
      stdout: '',
      stderr: `${filled(message)}\n`,
    });
  });
});
