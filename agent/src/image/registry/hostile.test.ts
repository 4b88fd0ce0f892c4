import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf } from '@tessera/shared/digest';
import { systemClock } from '@tessera/shared/env';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MEDIA_TYPES } from '../image-manifest.js';
import type { LocalImageStore } from '../local-image-store.js';
import { NOTHING } from '../testing/store-fixture.js';
import { ALICE } from './testing/docker-registry.js';
import { FakeRegistry, manifestOf } from './testing/fake-registry.js';
import { RegistryFixture } from './testing/fixture.js';

let registry: FakeRegistry;
let fixture: RegistryFixture;
let store: LocalImageStore;
beforeEach(async () => {
  registry = await FakeRegistry.start();
  fixture = new RegistryFixture();
  store = await fixture.stores.open();
});
afterEach(() => {
  registry.stop();
  fixture.remove();
});

const MANIFEST = 'GET /v2/app/manifests/1';
const pull = () => fixture.pull(fixture.registries(), store, registry.name);
/** The pull fails so, and nothing of it stays. */
async function refused(words: string | RegExp): Promise<void> {
  await expect(pull()).rejects.toThrow(words);
  expect(fixture.stores.count()).toEqual(NOTHING);
}
const layerPath = () => `GET /v2/app/blobs/${digestOf(registry.image.layer)}`;
const configPath = () => `GET /v2/app/blobs/${digestOf(registry.image.config)}`;
const json = (type: string) => ({ 'content-type': type });

test('the good answers give an image', async () => {
  expect((await pull()).image.id).toBe(digestOf(registry.image.manifest));
});

test('content that is not what its digest says is refused', async () => {
  const { config, layer, manifest } = registry.image;
  registry.answer(layerPath(), 200, Buffer.alloc(layer.length, 1));
  await refused(`filesystem layer verification failed for digest ${digestOf(layer)}`);
  // It was asked for again each time: a proxy may have damaged it.
  expect(registry.asked.filter(({ line }) => line === layerPath())).toHaveLength(5);

  registry.answers.delete(layerPath());
  registry.answer(configPath(), 200, Buffer.alloc(config.length, 32));
  await refused(`blob verification failed for digest ${digestOf(config)}`);

  registry.answer(MANIFEST, 200, manifest, {
    ...json(MEDIA_TYPES.ociManifest),
    'docker-content-digest': digestOf(Buffer.from('another')),
  });
  await refused('manifest verification failed for digest');
  registry.answer(
    `GET /v2/app/manifests/${digestOf(Buffer.from('x'))}`,
    200,
    manifest,
    json(MEDIA_TYPES.ociManifest),
  );
  await expect(
    fixture.pull(fixture.registries(), store, `${registry.host}/app@${digestOf(Buffer.from('x'))}`),
  ).rejects.toThrow('manifest verification failed for digest');
});

test('a layer longer than it says, and answers without an end, are cut off', async () => {
  const { layer, config } = registry.image;
  const endless = (_: unknown, response: import('node:http').ServerResponse) => {
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) {}
    };
    response.writeHead(200, json(MEDIA_TYPES.ociManifest));
    response.on('drain', more);
    more();
  };
  registry.answers.set(layerPath(), endless);
  await refused(`more than ${layer.length} bytes came`);
  registry.answers.delete(layerPath());
  registry.answers.set(configPath(), endless);
  await refused(`the answer is larger than ${config.length} bytes`);
  registry.answers.set(MANIFEST, endless);
  await refused('the answer is larger than 4194304 bytes');
  registry.answer(
    MANIFEST,
    200,
    manifestOf(config, layer, { layers: [{ mediaType: '', digest: digestOf(layer), size: 2 ** 50 }] }),
  );
  registry.answers.delete(configPath());
  await refused('is larger than 68719476736 bytes');
});

test('a registry that falls silent is given up', async () => {
  // All waits shrink, this one too.
  const hasty = {
    ...systemClock,
    after: (ms: number, call: () => void) => systemClock.after(ms / 100, call),
  };
  registry.answers.set(layerPath(), (_, response) => response.writeHead(200).flushHeaders());
  await expect(fixture.pull(fixture.registries({ clock: hasty }), store, registry.name)).rejects.toThrow(
    'nothing came any more',
  );
  registry.answers.set(MANIFEST, () => undefined);
  await expect(fixture.pull(fixture.registries({ clock: hasty }), store, registry.name)).rejects.toThrow(
    'no answer came in time',
  );
  expect(fixture.stores.count()).toEqual(NOTHING);
});

test('what is no image, or two things at once, is refused by name', async () => {
  const { config, layer, manifest } = registry.image;
  const answer = (body: object | Buffer, type: string) =>
    registry.answer(MANIFEST, 200, Buffer.isBuffer(body) ? body : JSON.stringify(body), json(type));

  answer({ schemaVersion: 1, fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+prettyjws');
  await refused('version 2, schema 1, which is no longer supported');
  answer(manifestOf(config, layer, { manifests: [] }), MEDIA_TYPES.ociManifest);
  await refused('a manifest cannot be an index as well');
  answer(manifest, MEDIA_TYPES.ociIndex);
  await refused(`it says of itself ${MEDIA_TYPES.ociManifest}, the registry says ${MEDIA_TYPES.ociIndex}`);
  answer(Buffer.from('<html>'), 'text/html');
  await refused('is not JSON');
  answer({ schemaVersion: 2 }, 'application/vnd.cncf.helm');
  await refused('unsupported media type application/vnd.cncf.helm');
  answer(
    manifestOf(config, layer, {
      config: {
        mediaType: 'application/vnd.cncf.helm.config.v1+json',
        digest: digestOf(config),
        size: config.length,
      },
    }),
    MEDIA_TYPES.ociManifest,
  );
  await refused('unsupported media type application/vnd.cncf.helm.config.v1+json');
  answer(manifestOf(config, layer, { layers: [] }), MEDIA_TYPES.ociManifest);
  await refused('names 1 layers, the manifest 0');
  const index = (digest: string) => ({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ mediaType: MEDIA_TYPES.ociIndex, digest, size: 1 }],
  });
  answer(index(`sha256:${'../'.repeat(21)}x`), MEDIA_TYPES.ociIndex);
  await refused('must be sha256: and 64 digits');
});

test('refusals are said in the words of the registry, without what would move a terminal', async () => {
  const refuse = (status: number, body: object | string, headers = {}) =>
    registry.answer(MANIFEST, status, typeof body === 'string' ? body : JSON.stringify(body), headers);

  refuse(401, { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] });
  await refused('unauthorized: authentication required');
  refuse(403, { errors: [{ code: 'DENIED', message: 'no \u001b[2Jway' }] });
  await refused(
    `pull access denied for ${registry.host}/app, repository does not exist or may require 'docker login': denied: no  [2Jway`,
  );
  refuse(404, { errors: [{ code: 'NAME_UNKNOWN', message: 'repository name not known to registry' }] });
  await refused(
    `repository ${registry.host}/app not found: name unknown: repository name not known to registry`,
  );
  refuse(418, 'short and stout');
  await refused('received unexpected HTTP status: 418');
  refuse(500, '<html>');
  await refused('received unexpected HTTP status: 500');
  expect(registry.asked.filter(({ line }) => line === MANIFEST)).toHaveLength(4 + 5);
  registry.answer('GET /v2/', 404);
  await refused('this is no registry of API version 2');
});

test('a registry that asks for patience gets it', async () => {
  let refusals = 2;
  registry.answers.set(MANIFEST, (request, response) => {
    if (refusals-- === 0) registry.answers.delete(MANIFEST);
    if (refusals >= 0) response.writeHead(429, { 'retry-after': '1' }).end();
    else registry.good(request, response);
  });
  expect((await pull()).image.id).toBe(digestOf(registry.image.manifest));
  expect(refusals).toBeLessThan(0);

  registry.answer(MANIFEST, 429, '', { 'retry-after': '3600' });
  await expect(pull()).rejects.toThrow('toomanyrequests: too many requests');
});

test('redirects are followed, not in circles, and never with credentials to another host', async () => {
  const seen: (string | undefined)[] = [];
  const elsewhere = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end(registry.image.layer);
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  const other = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/layer?signature=secret`;
  try {
    registry.answers.set('GET /v2/', (request, response) => {
      const isKnown = request.headers.authorization !== undefined;
      response.writeHead(isKnown ? 200 : 401, { 'www-authenticate': 'Basic realm="test"' }).end();
    });
    registry.answer(layerPath(), 307, '', { location: other });
    await fixture.pull(fixture.registries(), store, registry.name, { auth: ALICE });
    expect(seen).toEqual([undefined]);
    const manifestAsked = registry.asked.find(({ line }) => line === MANIFEST);
    expect(manifestAsked?.headers.authorization).toMatch(/^Basic /);
  } finally {
    elsewhere.closeAllConnections();
    elsewhere.close();
  }

  registry.answers.delete('GET /v2/');
  registry.answer(MANIFEST, 302, '', { location: '/v2/app/manifests/1' });
  await expect(pull()).rejects.toThrow('stopped after 10 redirects');
  registry.answer(MANIFEST, 302, '', { location: 'file:///etc/passwd' });
  await expect(pull()).rejects.toThrow('refused to be redirected');
});

test('ranges that are not what was asked for do no harm', async () => {
  const { layer } = registry.image;
  const half = layer.length >> 1;
  let asked = 0;
  let wanted: string | undefined;
  registry.answers.set(layerPath(), (request, response) => {
    asked++;
    if (asked === 1) {
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, half), () => response.destroy());
    } else if (asked === 2) {
      wanted = request.headers.range;
      // Ranges are optional: all of it once more.
      response.writeHead(200).end(layer);
    }
  });
  expect((await pull()).image.id).toBe(digestOf(registry.image.manifest));
  expect(wanted).toMatch(/^bytes=[1-9]\d*-$/);

  await store.remove(digestOf(registry.image.manifest));
  asked = 0;
  registry.answers.set(layerPath(), (_, response) => {
    asked++;
    if (asked > 1) {
      response.writeHead(206, { 'content-range': `bytes ${layer.length - 1}-*/*` }).end('x');
      return;
    }
    response.writeHead(200, { 'content-length': layer.length });
    response.write(layer.subarray(0, half), () => response.destroy());
  });
  await refused('the registry sends from');
});

test('whatever a registry answers, a pull ends with an image or an error, and leaves nothing half done', async () => {
  const lines = ['GET /v2/', MANIFEST, configPath(), layerPath()];
  const { manifest, config, layer } = registry.image;
  const bodies = [
    manifest,
    config,
    layer,
    Buffer.alloc(0),
    Buffer.from('{}'),
    Buffer.from('{"errors":[{}]}'),
  ];
  const spoiled = fc.record({
    line: fc.constantFrom(...lines),
    status: fc.constantFrom(200, 201, 204, 206, 301, 307, 400, 401, 403, 404, 405, 416, 418),
    body: fc.oneof(
      fc.constantFrom(...bodies),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
    ),
    type: fc.constantFrom(
      '',
      'text/html',
      MEDIA_TYPES.ociIndex,
      MEDIA_TYPES.dockerManifest,
      MEDIA_TYPES.ociManifest,
    ),
    challenge: fc.constantFrom(
      '',
      'Basic',
      'Bearer',
      'Bearer realm="http://127.0.0.1:1/"',
      'Bearer realm="',
      ',,="=Bearer',
      'Digest a=b',
    ),
    location: fc.constantFrom('', '/v2/', 'http://127.0.0.1:1/', '//', 'http://[', '/v2/app/manifests/1'),
  });
  const good = digestOf(manifest);
  await fc.assert(
    fc.asyncProperty(fc.array(spoiled, { minLength: 1, maxLength: 3 }), async (spoils) => {
      registry.answers.clear();
      for (const { line, status, body, type, challenge, location } of spoils)
        registry.answer(line, status, status === 204 ? '' : body, {
          ...(type ? { 'content-type': type } : {}),
          ...(challenge ? { 'www-authenticate': challenge } : {}),
          ...(location ? { location } : {}),
        });
      const outcome = await pull().then(
        ({ image }) => image.id,
        (error: Error) => error,
      );
      if (outcome === good) {
        await store.remove(good);
      } else {
        expect((outcome as Error).name).toMatch(/^(ClusterError|TransportError|RegistryError)$/);
      }
      expect(fixture.stores.count()).toEqual(NOTHING);
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 60) },
  );
});
