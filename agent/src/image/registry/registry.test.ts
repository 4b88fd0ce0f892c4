import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '@tessera/shared/digest';
import { hostPlatform } from '@tessera/shared/platform';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { MEDIA_TYPES } from '../image-manifest.js';
import { compress, makeLayer } from '../testing/make-layer.js';
import { shortId } from './progress.js';
import { NO_AUTH } from './registry-auth.js';
import { ALICE, DockerRegistry } from './testing/docker-registry.js';
import { imageOf, RegistryFixture } from './testing/fixture.js';
import { TokenServer } from './testing/token-server.js';

let registry: DockerRegistry;
beforeAll(async () => {
  registry = await DockerRegistry.start();
});
afterAll(() => registry.stop());

let fixture: RegistryFixture;
beforeEach(() => {
  fixture = new RegistryFixture();
});
afterEach(() => fixture.remove());

const signal = new AbortController().signal;

test('what was loaded from an archive can be pushed, and pulled by another host under the same digest', async () => {
  const name = `${registry.host}/team/app:1`;
  const registries = fixture.registries();
  const here = await fixture.stores.open('here');
  const loaded = await fixture.load(here, await imageOf('app', [1000, 200_000]));

  const pushed = await fixture.push(registries, here, loaded, name);
  const there = await fixture.stores.open('there');
  const { image, said } = await fixture.pull(registries, there, name);

  expect(image.id).toBe(loaded.id);
  expect(image.names).toEqual([name]);
  expect(image.repoDigests).toEqual([`${registry.host}/team/app@${loaded.id}`]);
  expect(image.sizeBytes).toBe(201_000);
  expect(there.held()).toEqual([loaded.id]);
  const { layers } = await there.ensure(image.id, 'task', signal);
  expect(await readFile(join(layers[1]!.path, 'app-1'))).toHaveLength(200_000);

  expect(pushed[0]).toEqual({ status: `The push refers to repository [${registry.host}/team/app]` });
  expect(pushed.filter(({ status }) => status === 'Pushed')).toHaveLength(2);
  expect(pushed.at(-2)!.status).toBe(`1: digest: ${loaded.id} size: ${loaded.manifest.length}`);
  expect(pushed.at(-1)!.aux).toEqual({ Tag: '1', Digest: loaded.id, Size: loaded.manifest.length });
  expect(said[0]).toEqual({ status: 'Pulling from team/app', id: '1' });
  for (const digest of loaded.layerDigests) {
    const lines = said.filter(({ id }) => id === shortId(digest)).map(({ status }) => status);
    expect([...new Set(lines)]).toEqual([
      'Pulling fs layer',
      'Downloading',
      'Verifying Checksum',
      'Download complete',
      'Extracting',
      'Pull complete',
    ]);
  }
});

test('layers that are here are not fetched again, those that are there are not sent again', async () => {
  const registries = fixture.registries();
  const store = await fixture.stores.open();
  const [base, ...rest] = (await imageOf('layers', [5000, 10, 20])).layers;
  const one = await fixture.load(store, { names: ['one'], layers: [base!, rest[0]!] });
  const two = await fixture.load(store, { names: ['two'], layers: [base!, rest[1]!] });
  await fixture.push(registries, store, one, `${registry.host}/shared/one:1`);

  const mounts = new Map([[one.layerDigests[0]!, 'shared/one']]);
  const mounted = await fixture.push(registries, store, two, `${registry.host}/shared/two:1`, { mounts });
  const again = await fixture.push(registries, store, two, `${registry.host}/shared/two:2`);
  expect(mounted.map(({ status }) => status)).toContain('Mounted from shared/one');
  expect(again.filter(({ status }) => status === 'Layer already exists')).toHaveLength(2);

  const other = await fixture.stores.open('other');
  await fixture.pull(registries, other, `${registry.host}/shared/one:1`);
  const { said } = await fixture.pull(registries, other, `${registry.host}/shared/two:1`);
  expect(said.filter(({ status }) => status === 'Already exists')).toHaveLength(1);
  expect(said.filter(({ status }) => status === 'Pull complete')).toHaveLength(1);
  expect(fixture.stores.count('other')).toMatchObject({ snapshots: 3, unfinished: 0 });
});

/** An image by hand, for one platform. */
async function publish(
  repository: string,
  architecture: string,
  options: { kind: 'docker' | 'oci'; layer: 'gzip' | 'zstd' },
) {
  const isDocker = options.kind === 'docker';
  const layer = await makeLayer([{ name: 'file', content: `for ${architecture}` }]);
  const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } };
  const type = isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
  const manifest = {
    schemaVersion: 2,
    mediaType: type,
    config: {
      mediaType: isDocker ? 'application/vnd.docker.container.image.v1+json' : MEDIA_TYPES.ociConfig,
      ...(await registry.putBlob(repository, Buffer.from(JSON.stringify(config)))),
    },
    layers: [
      {
        mediaType: isDocker
          ? 'application/vnd.docker.image.rootfs.diff.tar.gzip'
          : `application/vnd.oci.image.layer.v1.tar+${options.layer}`,
        ...(await registry.putBlob(repository, compress(layer, options.layer))),
      },
    ],
  };
  const digest = await registry.putManifest(repository, architecture, type, manifest);
  return {
    mediaType: type,
    digest,
    size: JSON.stringify(manifest).length,
    platform: { architecture, os: 'linux' },
  };
}

test('of a manifest list or an index, the image for the platform is pulled', async () => {
  const host = hostPlatform().architecture;
  const registries = fixture.registries();
  const store = await fixture.stores.open();
  for (const kind of ['docker', 'oci'] as const) {
    const repository = `lists/${kind}`;
    const layer = kind === 'oci' ? 'zstd' : 'gzip';
    const manifests = [
      await publish(repository, 's390x', { kind, layer }),
      await publish(repository, host, { kind, layer }),
    ];
    const mediaType = kind === 'docker' ? MEDIA_TYPES.dockerManifestList : MEDIA_TYPES.ociIndex;
    const listDigest = await registry.putManifest(repository, 'latest', mediaType, {
      schemaVersion: 2,
      mediaType,
      manifests,
    });

    const { image } = await fixture.pull(registries, store, `${registry.host}/${repository}`);
    const other = await fixture.pull(registries, store, `${registry.host}/${repository}`, {
      platform: 'linux/s390x',
    });
    const byDigest = await fixture.pull(registries, store, `${registry.host}/${repository}@${listDigest}`);

    expect(image.id).toBe(manifests[1]!.digest);
    expect(image.repoDigests).toEqual([`${registry.host}/${repository}@${listDigest}`]);
    expect(other.image.id).toBe(manifests[0]!.digest);
    expect(byDigest.image.id).toBe(image.id);
    expect(byDigest.image.names).toEqual([]);
    const [snapshot] = (await store.ensure(image.id, 'task', signal)).layers;
    expect(await readFile(join(snapshot!.path, 'file'), 'utf8')).toBe(`for ${host}`);

    await expect(
      fixture.pull(registries, store, `${registry.host}/${repository}`, { platform: 'linux/riscv64' }),
    ).rejects.toThrow('no matching manifest for linux/riscv64 in the manifest list entries');
    await expect(fixture.pull(registries, store, `${registry.host}/${repository}:s390x`)).rejects.toThrow(
      `does not match the specified platform: wanted linux/${host}, actual: linux/s390x`,
    );
    const described = await registries.puller.describe(`${registry.host}/${repository}`, noAuth, signal);
    expect(described).toMatchObject({ mediaType, digest: listDigest });
    expect(described.platforms.map(({ architecture }) => architecture)).toEqual(['s390x', host]);
    const one = await registries.puller.describe(`${registry.host}/${repository}:s390x`, noAuth, signal);
    expect(one.platforms).toEqual([{ os: 'linux', architecture: 's390x', variant: '' }]);
  }
});

const noAuth = { username: '', password: '', identityToken: '', registryToken: '' };

test("what is not there is said in Docker's words", async () => {
  const registries = fixture.registries();
  const store = await fixture.stores.open();
  const fails = (reference: string) => expect(fixture.pull(registries, store, reference)).rejects;

  await fails(`${registry.host}/none/such:1`).toMatchObject({
    kind: 'notFound',
    message: `manifest for ${registry.host}/none/such:1 not found: manifest unknown: manifest unknown`,
  });
  await fails('127.0.0.1:1/app').toMatchObject({
    kind: 'unavailable',
    message: 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
  });
  expect(fixture.stores.count()).toMatchObject({ records: 0, unfinished: 0 });
});

test('a registry with a password gives nothing without it', async () => {
  const guarded = await DockerRegistry.start({ isGuarded: true });
  try {
    const registries = fixture.registries();
    const store = await fixture.stores.open();
    const image = await fixture.load(store, await imageOf('app', [100]));
    const name = `${guarded.host}/app:1`;

    await expect(fixture.push(registries, store, image, name)).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: 'no basic auth credentials',
    });
    await fixture.push(registries, store, image, name, { auth: ALICE });
    await expect(fixture.pull(registries, store, name)).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: `Head "http://${guarded.host}/v2/app/manifests/1": no basic auth credentials`,
    });
    await expect(
      fixture.pull(registries, store, name, { auth: { ...ALICE, password: 'guess' } }),
    ).rejects.toMatchObject({ kind: 'unauthenticated', message: 'unauthorized: authentication required' });
    const { image: pulled } = await fixture.pull(registries, store, name, { auth: ALICE });
    expect(pulled.id).toBe(image.id);

    expect(await registries.login(guarded.host, ALICE, signal)).toBe('');
    await expect(registries.login(guarded.host, { ...ALICE, password: 'guess' }, signal)).rejects.toThrow(
      `login attempt to http://${guarded.host}/v2/ failed with status: 401 Unauthorized`,
    );
  } finally {
    await guarded.stop();
  }
});

test('tokens are asked for by scope, with a password or an identity token, and renewed when they end', async () => {
  const tokens = await TokenServer.start();
  const guarded = await DockerRegistry.start({ token: { realm: tokens.realm, caCertPem: tokens.caCertPem } });
  try {
    const registries = fixture.registries();
    const store = await fixture.stores.open();
    const image = await fixture.load(store, await imageOf('app', [100, 200]));
    const name = `${guarded.host}/open/app:1`;
    const mounts = new Map([[image.layerDigests[0]!, 'secret/base']]);

    await fixture.push(registries, store, image, name, { auth: ALICE, mounts });
    expect(tokens.asked).toEqual([
      {
        method: 'GET',
        account: 'alice',
        scopes: ['repository:open/app:pull,push', 'repository:secret/base:pull'],
      },
    ]);

    tokens.asked.length = 0;
    await fixture.pull(registries, await fixture.stores.open('anybody'), name);
    expect(tokens.asked).toEqual([{ method: 'GET', account: '', scopes: ['repository:open/app:pull'] }]);

    await fixture.push(registries, store, image, `${guarded.host}/secret/app:1`, { auth: ALICE });
    await expect(fixture.pull(registries, store, `${guarded.host}/secret/app:1`)).rejects.toMatchObject({
      kind: 'notFound',
      message: `pull access denied for ${guarded.host}/secret/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    });
    await expect(
      fixture.pull(registries, store, `${guarded.host}/secret/app:1`, {
        auth: { ...ALICE, password: 'guess' },
      }),
    ).rejects.toThrow('unauthorized: incorrect username or password');

    tokens.asked.length = 0;
    tokens.staleCount = 1;
    await fixture.pull(registries, await fixture.stores.open('late'), name);
    expect(tokens.asked).toHaveLength(2);

    const identityToken = await registries.login(guarded.host, ALICE, signal);
    expect(identityToken).toBe(tokens.refreshToken);
    tokens.asked.length = 0;
    await fixture.pull(registries, await fixture.stores.open('identity'), `${guarded.host}/secret/app:1`, {
      auth: { ...noAuth, identityToken },
    });
    expect(tokens.asked).toMatchObject([{ method: 'POST', scopes: ['repository:secret/app:pull'] }]);
  } finally {
    tokens.stop();
    await guarded.stop();
  }
});

test('a registry with an authority of its own is trusted when certs.d has it, and asks for a certificate if it likes', async () => {
  const authority = await TestAuthority.create();
  const tls = await authority.issue({ nodeId: 'localhost', role: 'manager' });
  const own = await authority.issue({ nodeId: 'client', role: 'worker' });
  const secured = await DockerRegistry.start({ tls: { ...tls, clientCaPem: authority.caCertPem } });
  try {
    // Loopback needs no trust; by this name it counts as any other host.
    const host = `localhost:${secured.port}`;
    const registries = fixture.registries({ resolve: async () => ['192.0.2.1'] });
    const store = await fixture.stores.open();
    const image = await fixture.load(store, await imageOf('app', [100]));
    const push = () => fixture.push(registries, store, image, `${host}/app:1`);

    await expect(push()).rejects.toThrow(
      `Get "https://${host}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
    );
    const directory = join(fixture.certsDirectory, host);
    mkdirSync(directory);
    writeFileSync(join(directory, 'ca.crt'), authority.caCertPem);
    writeFileSync(join(directory, 'client.cert'), own.certPem);
    await expect(push()).rejects.toThrow('missing key client.key for client certificate client.cert');
    writeFileSync(join(directory, 'client.key'), own.keyPem);
    await push();
    const { image: pulled } = await fixture.pull(registries, await fixture.stores.open('b'), `${host}/app:1`);
    expect(pulled.id).toBe(image.id);

    const insecure = fixture.registries({
      resolve: async () => ['192.0.2.1'],
      settings: { insecureRegistries: ['192.0.2.0/24'], mirrors: [], certsDirectory: '/nonexistent' },
    });
    // Unverified it is reached; this one demands a certificate all the same.
    await expect(fixture.pull(insecure, store, `${host}/app:1`)).rejects.not.toThrow('x509');
  } finally {
    await secured.stop();
  }
});

test('without TLS a registry is asked only where it was said to be insecure', async () => {
  const secure = fixture.registries({ resolve: async () => ['192.0.2.1'] });
  const store = await fixture.stores.open();
  const host = `localhost:${registry.port}`;

  await expect(fixture.pull(secure, store, `${host}/team/app:1`)).rejects.toThrow(
    `Get "https://${host}/v2/": http: server gave HTTP response to HTTPS client`,
  );
  const settings = { insecureRegistries: [host], mirrors: [], certsDirectory: fixture.certsDirectory };
  const insecure = fixture.registries({ resolve: async () => ['192.0.2.1'], settings });
  await expect(fixture.pull(insecure, store, `${host}/team/none`)).rejects.toThrow('manifest unknown');
});

test('what is on docker.io is asked of the mirrors first, one that is down gives way', async () => {
  const image = await (async () => {
    const store = await fixture.stores.open('source');
    const loaded = await fixture.load(store, await imageOf('app', [100]));
    await fixture.push(fixture.registries(), store, loaded, `${registry.host}/library/mirrored:1`);
    return loaded;
  })();
  const settings = {
    insecureRegistries: [],
    mirrors: ['http://127.0.0.1:1', `http://${registry.host}/`],
    certsDirectory: fixture.certsDirectory,
  };

  const { image: pulled } = await fixture.pull(
    fixture.registries({ settings }),
    await fixture.stores.open(),
    'mirrored:1',
  );

  expect(pulled.id).toBe(image.id);
  expect(pulled.names).toEqual(['docker.io/library/mirrored:1']);
  expect(pulled.repoDigests).toEqual([`docker.io/library/mirrored@${image.id}`]);
});

test('the tags of a repository are listed, as its registry has them', async () => {
  const registries = fixture.registries();
  const here = await fixture.stores.open('here');
  const loaded = await fixture.load(here, await imageOf('tagged', [1000]));
  const tags = ['1', '2', 'latest'];
  for (const tag of tags) await fixture.push(registries, here, loaded, `${registry.host}/team/tagged:${tag}`);

  const found = await registries.puller.tags(`${registry.host}/team/tagged`, NO_AUTH, signal);

  expect(found.sort()).toEqual(tags);
  await expect(registries.puller.tags(`${registry.host}/team/none`, NO_AUTH, signal)).rejects.toThrow(
    'repository',
  );
});
