import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { NOTHING } from '../testing/store-fixture.js';
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
