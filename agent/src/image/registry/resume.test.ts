import { closeSync, openSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Image } from '@tessera/shared/model';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { NOTHING } from '../testing/store-fixture.js';
import type { ProgressMessage } from './progress.js';
import { CuttingProxy } from './testing/cutting-proxy.js';
import { DockerRegistry } from './testing/docker-registry.js';
import { FakeRegistry } from './testing/fake-registry.js';
import { imageOf, RegistryFixture } from './testing/fixture.js';

const MIB = 1024 * 1024;

let registry: DockerRegistry;
let proxy: CuttingProxy;
let fixture: RegistryFixture;
beforeAll(async () => {
  registry = await DockerRegistry.start();
});
afterAll(() => registry.stop());
beforeEach(async () => {
  fixture = new RegistryFixture();
  proxy = await CuttingProxy.start(registry.port);
});
afterEach(() => {
  proxy.stop();
  fixture.remove();
});

test('a layer that breaks off goes on from where it stood', async () => {
  const registries = fixture.registries();
  const source = await fixture.stores.open('source');
  const loaded = await fixture.load(source, await imageOf('app', [6 * MIB]));
  await fixture.push(registries, source, loaded, `${registry.host}/broken:1`);

  proxy.cut('down', 2 * MIB, 2 * MIB);
  const store = await fixture.stores.open();
  const { image, said } = await fixture.pull(registries, store, `${proxy.host}/broken:1`);

  expect(image.id).toBe(loaded.id);
  expect(proxy.cutCount).toBe(2);
  expect(said.filter(({ status }) => status.startsWith('Retrying in '))).toHaveLength(2);
  const counted = said.flatMap(({ status, progressDetail }) =>
    status === 'Downloading' ? [progressDetail?.current ?? 0] : [],
  );
  // It never went back to the beginning.
  expect(counted).toEqual([...counted].sort((a, b) => a - b));
});

/** Pulls through the proxy until the layer breaks off, and leaves it at that, as a killed agent does. */
async function giveUp(name: string): Promise<Image> {
  const registries = fixture.registries();
  const source = await fixture.stores.open('source');
  const loaded = await fixture.load(source, await imageOf('app', [6 * MIB]));
  await fixture.push(registries, source, loaded, `${registry.host}/${name}`);
  proxy.cut('down', 3 * MIB);
  const given = new AbortController();
  const heard = ({ status }: ProgressMessage) => {
    if (status.startsWith('Retrying in ')) given.abort(new Error('given up'));
  };
  const store = await fixture.stores.open();
  const pulling = fixture.pull(registries, store, `${proxy.host}/${name}`, { signal: given.signal, heard });
  await expect(pulling).rejects.toThrow('given up');
  return loaded;
}

test('the next agent goes on with a layer that broke off in the one before', async () => {
  const loaded = await giveUp('given-up:1');
  expect(fixture.stores.count()).toEqual(NOTHING);
  const [kept] = fixture.stores.partials();
  expect(kept!.bytes).toBeGreaterThan(MIB);

  const store = await fixture.stores.open();
  const { image, said } = await fixture.pull(fixture.registries(), store, `${proxy.host}/given-up:1`);

  expect(image.id).toBe(loaded.id);
  const counted = said.flatMap(({ status, progressDetail }) =>
    status === 'Downloading' ? [progressDetail?.current ?? 0] : [],
  );
  expect(Math.min(...counted)).toBeGreaterThanOrEqual(kept!.bytes);
  expect(fixture.stores.partials()).toEqual([]);
});

test('what was kept of a layer and is damaged is found out, and fetched anew', async () => {
  const loaded = await giveUp('damaged:1');
  const [kept] = fixture.stores.partials();
  const file = openSync(kept!.path, 'r+');
  writeSync(file, 'something else', 100_000);
  closeSync(file);

  const store = await fixture.stores.open();
  const { image } = await fixture.pull(fixture.registries(), store, `${proxy.host}/damaged:1`);

  expect(image.id).toBe(loaded.id);
  expect((await store.ensure(image.id, 'test', new AbortController().signal)).layers).toHaveLength(1);
});

test('what nobody comes back for is removed within a day, and of much the newest is kept', async () => {
  await giveUp('old:1');
  const [kept] = fixture.stores.partials();
  const directory = dirname(kept!.path);
  for (let number = 10; number < 40; number++)
    writeFileSync(join(directory, `${number}`.repeat(32)), 'part of a blob');

  await fixture.stores.open();
  expect(fixture.stores.partials()).toHaveLength(16);
  for (const { path } of fixture.stores.partials()) utimesSync(path, 1, 1);
  await fixture.stores.open();

  expect(fixture.stores.partials()).toEqual([]);
});

test('an upload that breaks off goes on from where the registry stands', async () => {
  const registries = fixture.registries();
  const store = await fixture.stores.open();
  const fake = await FakeRegistry.start();
  const cutting = await CuttingProxy.start(Number(fake.host.split(':')[1]));
  try {
    const image = await fixture.load(store, await imageOf('app', [6 * MIB]));

    cutting.cut('up', 3 * MIB, 2 * MIB);
    const said = await fixture.push(registries, store, image, `${cutting.host}/app:1`);

    expect(cutting.cutCount).toBe(2);
    expect(said.filter(({ status }) => status === 'Pushed')).toHaveLength(1);
    expect([...fake.uploaded.keys()].sort()).toEqual([...image.layerDigests, image.configDigest].sort());
    const begun = fake.asked.flatMap(({ line, headers }) =>
      line.startsWith('PATCH') ? [Number(String(headers['content-range']).split('-')[0])] : [],
    );
    // The layer in parts, each beginning where the registry stood; and the configuration.
    const parts = begun.slice(0, -1);
    expect(parts.length).toBeGreaterThanOrEqual(3);
    expect(parts[0]).toBe(0);
    expect(parts[1]).toBeGreaterThan(2 * MIB);
    expect(parts).toEqual([...parts].sort((a, b) => a - b));
    expect(parts.filter((offset) => offset === 0)).toHaveLength(1);
  } finally {
    cutting.stop();
    fake.stop();
  }
});

// Debian's registry forgets an upload whose request broke off.
test('an upload that the registry has lost begins anew', async () => {
  const registries = fixture.registries();
  const store = await fixture.stores.open();
  const image = await fixture.load(store, await imageOf('app', [6 * MIB]));

  proxy.cut('up', 3 * MIB);
  await fixture.push(registries, store, image, `${proxy.host}/sent:1`);

  expect(proxy.cutCount).toBe(1);
  const other = await fixture.stores.open('other');
  expect((await fixture.pull(registries, other, `${registry.host}/sent:1`)).image.id).toBe(image.id);
});

test('a pull that is cancelled, or that the registry does not survive, leaves nothing behind', async () => {
  const registries = fixture.registries();
  const source = await fixture.stores.open('source');
  const image = await fixture.load(source, await imageOf('app', [6 * MIB, 6 * MIB]));
  await fixture.push(registries, source, image, `${registry.host}/cancelled:1`);
  const store = await fixture.stores.open();

  const stop = new AbortController();
  const cancelled = store.bring((into) =>
    registries.puller.pull(
      { reference: `${registry.host}/cancelled:1`, auth: nobody, platform },
      into,
      ({ status }) => status === 'Downloading' && stop.abort(new Error('enough')),
      stop.signal,
    ),
  );
  await expect(cancelled).rejects.toThrow('enough');
  expect(fixture.stores.count()).toEqual(NOTHING);

  proxy.cut('down', MIB);
  const lost = store.bring((into) =>
    registries.puller.pull(
      { reference: `${proxy.host}/cancelled:1`, auth: nobody, platform },
      into,
      ({ status }) => status.startsWith('Retrying') && proxy.stop(),
      new AbortController().signal,
    ),
  );
  await expect(lost).rejects.toMatchObject({ kind: 'unavailable' });
  expect(fixture.stores.count()).toEqual(NOTHING);
});

const nobody = { username: '', password: '', identityToken: '', registryToken: '' };
const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, variant: '' };
