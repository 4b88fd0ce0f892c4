import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpackArchive } from '@tessera/native';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeArchive, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

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

interface Found {
  readonly pid: number;
  readonly parent: number;
}

/** The live unpackers that work below `directory`: the monitors, and the confined ones below them. */
function unpackers(directory: string): Found[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (!command.startsWith('ts-unpack\0') || !command.includes(directory)) return [];
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return state === 'Z' ? [] : [{ pid, parent: Number(parent) }];
    } catch {
      return [];
    }
  });
}
const confined = (directory: string) => {
  const all = unpackers(directory);
  return all.find(({ parent }) => all.some(({ pid }) => pid === parent));
};

async function unpackStalled() {
  const root = join(fixture.directory, 'root');
  mkdirSync(root);
  const layer = await makeLayer([{ name: 'first', content: 'x' }, { name: 'second' }]);
  let end = () => {};
  async function* stalled() {
    yield layer.subarray(0, 1200);
    await new Promise<void>((resolve) => {
      end = resolve;
    });
  }
  const unpacking = unpackArchive({ mode: 'layer', root, input: stalled() }, signal);
  unpacking.catch(() => {});
  const inner = await vi.waitUntil(() => confined(root), WAIT);
  return { unpacking, inner, root, end: () => end() };
}

test('a killed unpacker is an error, and its monitor ends', async () => {
  const { unpacking, inner, root, end } = await unpackStalled();

  process.kill(inner.pid, 'SIGKILL');
  end();

  await expect(unpacking).rejects.toThrow(/the unpacker was ended by signal 9/);
  expect(unpackers(root)).toEqual([]);
});

test('a killed monitor is an error, and takes the unpacker with it', async () => {
  const { unpacking, inner, root, end } = await unpackStalled();

  process.kill(inner.parent, 'SIGKILL');
  end();

  await expect(unpacking).rejects.toThrow(/the unpacker ended with status 137/);
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
  await vi.waitUntil(() => confined(fixture.directory), WAIT);

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
