import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpackArchive } from '@tessera/native';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeArchive, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';
import { confinedUnpacker, unpackers } from './testing/unpackers.js';

// kill -9 of whoever unpacks, and of whoever asked for it.
let fixture: StoreFixture;
let drivers: ChildProcess[];
beforeEach(() => {
  fixture = new StoreFixture();
  drivers = [];
});
afterEach(() => {
  for (const driver of drivers) driver.kill('SIGKILL');
  fixture.remove();
});

const signal = new AbortController().signal;
const WAIT = { timeout: 60_000, interval: 5 };

async function unpackStalled() {
  const root = join(fixture.directory, 'root');
  mkdirSync(root);
  const layer = await makeLayer([{ name: 'first', content: 'x' }, { name: 'second' }]);
  async function* stalled() {
    yield layer.subarray(0, 1200);
    await new Promise(() => {});
  }
  const unpacking = unpackArchive({ mode: 'layer', root, input: stalled() }, signal);
  unpacking.catch(() => {});
  const inner = await vi.waitUntil(() => confinedUnpacker(root), WAIT);
  return { unpacking, inner, root };
}

test('what reads foreign bytes has nothing of the host', async () => {
  const { unpacking, inner, root } = await unpackStalled();
  const status = () => readFileSync(`/proc/${inner.pid}/status`, 'utf8');

  // Its last act before it reads.
  await vi.waitUntil(() => /^Seccomp:\t2$/m.test(status()), WAIT);

  // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP (capability.h).
  const kept = ((1n << 0n) | (1n << 1n) | (1n << 3n) | (1n << 4n) | (1n << 27n) | (1n << 31n)).toString(16);
  for (const set of ['CapPrm', 'CapEff', 'CapBnd'])
    expect(status()).toContain(`${set}:\t${kept.padStart(16, '0')}\n`);
  expect(status()).toMatch(/^NoNewPrivs:\t1$/m);
  for (const kind of ['mnt', 'net', 'pid', 'ipc', 'uts']) {
    expect(readlinkSync(`/proc/${inner.pid}/ns/${kind}`)).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
  }
  expect(readFileSync(`/proc/${inner.pid}/mountinfo`, 'utf8').trim().split('\n')).toHaveLength(1);
  expect(readdirSync(`/proc/${inner.pid}/root/`)).toEqual(readdirSync(root));
  const open = readdirSync(`/proc/${inner.pid}/fd`).map((fd) => readlinkSync(`/proc/${inner.pid}/fd/${fd}`));
  expect(open.filter((target) => !/^(pipe|socket):|^\/dev\/null$|^\/$/.test(target))).toEqual([]);
  process.kill(inner.pid, 'SIGKILL');
  await expect(unpacking).rejects.toThrow();
});

test('a killed unpacker is an error, and its monitor ends', async () => {
  const { unpacking, inner, root } = await unpackStalled();

  process.kill(inner.pid, 'SIGKILL');

  await expect(unpacking).rejects.toThrow(/ts-unpack was ended by signal 9/);
  expect(unpackers(root)).toEqual([]);
});

test('a killed monitor is an error, and takes the unpacker with it', async () => {
  const { unpacking, inner, root } = await unpackStalled();

  process.kill(inner.parent, 'SIGKILL');

  await expect(unpacking).rejects.toThrow(/ts-unpack ended with status 137/);
  await vi.waitUntil(() => unpackers(root).length === 0, WAIT);
});

/** A process that loads into the fixture's store what is written to its stdin. */
async function startDriver(): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('./testing/crash-driver.ts', import.meta.url));
  const driver = spawn(
    process.execPath,
    ['--import', 'tsx', '--conditions', 'tessera-source', script, join(fixture.directory, 'images')],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  drivers.push(driver);
  driver.stdin!.on('error', () => {});
  await once(driver.stdout!, 'data');
  return driver;
}

const isBegun = (path: string) => existsSync(path) && readdirSync(path).length > 0;

async function kill(driver: ChildProcess): Promise<void> {
  const ended = once(driver, 'exit');
  driver.kill('SIGKILL');
  await ended;
}

const manyFiles = () =>
  makeLayer(
    Array.from({ length: 5_000 }, (_, number) => ({ name: `d${number % 100}/f${number}`, content: 'x' })),
  );

test('kill -9 in the middle of an upload leaves nothing that is found', { timeout: 120_000 }, async () => {
  const archive = await makeArchive([{ names: ['app'], layers: [await makeLayer([{ name: 'file' }])] }]);
  const driver = await startDriver();
  driver.stdin!.write(archive.subarray(0, 1500));
  await vi.waitUntil(() => confinedUnpacker(fixture.directory), WAIT);

  await kill(driver);

  await vi.waitUntil(() => unpackers(fixture.directory).length === 0, WAIT);
  expect((await fixture.open()).held()).toEqual([]);
  expect(fixture.count()).toEqual(NOTHING);
});

test('kill -9 in the middle of a layer leaves no half of it', { timeout: 120_000 }, async () => {
  const archive = await makeArchive([{ names: ['app'], layers: [await manyFiles()] }]);
  const driver = await startDriver();
  driver.stdin!.end(archive);
  const scratch = join(fixture.directory, 'images/tmp');
  const layerPath = await vi.waitUntil(
    () => readdirSync(scratch).find((name) => name.startsWith('layer-')),
    WAIT,
  );
  // Not before it has begun to fill: the directory itself is made by the driver.
  await vi.waitUntil(() => isBegun(join(scratch, layerPath, 'fs')), WAIT);

  await kill(driver);

  await vi.waitUntil(() => unpackers(fixture.directory).length === 0, WAIT);
  const store = await fixture.open();
  expect(store.held()).toEqual([]);
  expect(fixture.count()).toEqual(NOTHING);
  const [image] = await store.load(inPieces(archive), () => {}, signal);
  const { layers } = await store.ensure(image!.id, 'task', signal);
  expect(readdirSync(layers[0]!.path)).toHaveLength(100);
});
