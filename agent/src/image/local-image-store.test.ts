import { mkdtempSync, rmSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { digestOf } from './digest.js';
import { LocalImageStore } from './local-image-store.js';
import { busyboxImage, makeArchive } from './testing/index.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-images-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const signal = new AbortController().signal;
const openStore = () =>
  LocalImageStore.open({
    directory: join(directory, 'images'),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
async function* stream(bytes: Uint8Array, pieceBytes = 50_000) {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

test('a loaded docker-archive is held, and its layers can be mounted', async () => {
  const archive = await makeArchive([await busyboxImage()]);
  const store = await openStore();
  const lines: string[] = [];

  const [image] = await store.load(stream(archive), (line) => lines.push(line), signal);
  const local = await store.ensure(image!.id, 'task-1', signal);

  expect(lines).toEqual(['Loaded image: busybox:latest']);
  expect(image!.names).toEqual(['docker.io/library/busybox:latest']);
  expect(image!.id).toBe(digestOf(image!.manifest));
  expect(image!.configDigest).toBe(digestOf(image!.config));
  expect(store.held()).toEqual([image!.id]);
  expect(local.config.cmd).toEqual(['sh']);
  const [layer] = local.layers;
  expect(await readFile(join(layer!.shortPath, 'etc/passwd'), 'utf8')).toMatch(/^root:x:0:0:/);
  expect((await lstat(join(layer!.path, 'tmp'))).mode & 0o7777).toBe(0o1777);
  expect((await lstat(join(layer!.path, 'bin/sh'))).ino).toBe(
    (await lstat(join(layer!.path, 'bin/busybox'))).ino,
  );
});
