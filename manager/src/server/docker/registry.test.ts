import { request } from 'node:http';
import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Frame, ImagePullRequest } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ImageLocator } from '../../dispatcher/image-locator.js';
import type { StreamKind } from '../../streams/index.js';
import { ApiFixture, anImage, type Json } from '../testing/api-fixture.js';

const ID = `sha256:${'b'.repeat(64)}`;
const INDEX = `sha256:${'d'.repeat(64)}`;
const NAME = 'registry.test/team/app:1';
const AUTH = Buffer.from('{"username":"alice","password":"secret"}').toString('base64url');

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const lines = (text: string) =>
  text
    .trim()
    .split(/\r?\n/)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const remote = (id = ID, index = INDEX): Image => ({
  ...anImage(id, [NAME]),
  repoDigests: [`registry.test/team/app@${index}`],
});

/** The agents' registry has `image` under NAME. */
function serveRegistry(image: Image, asked: StreamKind[] = []) {
  api.onStream = async function* (nodeId, kind): AsyncGenerator<Frame> {
    asked.push(kind);
    if (kind.$case === 'imagePull') {
      if (!/^registry.test\/team\/app[:@]/.test(kind.value.reference))
        throw new ClusterError('notFound', `manifest for ${kind.value.reference} not found`);
      const progress = { status: 'Pulling from team/app', id: '1' };
      if (!kind.value.describeOnly) {
        yield { body: { $case: 'progress', value: JSON.stringify(progress) } };
        await api.store.update((tx) =>
          tx.put('nodeStatuses', { ...tx.nodeStatuses.get(nodeId)!, imageDigests: [image.id] }),
        );
      }
      const names = kind.value.reference.includes('@') ? [] : image.names;
      yield { body: { $case: 'imageLoaded', value: { image: { ...image, names } } } };
    }
    if (kind.$case === 'imagePush')
      yield { body: { $case: 'progress', value: JSON.stringify({ status: 'The push refers to' }) } };
    if (kind.$case === 'registry') {
      const answer =
        kind.value.kind === 'login'
          ? { IdentityToken: 'token' }
          : kind.value.kind === 'tags'
            ? { Tags: ['1', '2'] }
            : { Descriptor: { digest: INDEX }, Platforms: [{ os: 'linux' }] };
      yield { body: { $case: 'data', value: Buffer.from(JSON.stringify(answer)) } };
    }
  };
  return asked;
}
const pulls = (asked: readonly StreamKind[]): ImagePullRequest[] =>
  asked.flatMap((kind) => (kind.$case === 'imagePull' ? [kind.value] : []));

test("a pulled image is the cluster's under its name, and says so as Docker does", async () => {
  serveRegistry(remote());

  const first = await api.call('POST', '/images/create?fromImage=registry.test/team/app&tag=1');
  const again = await api.call('POST', '/images/create?fromImage=registry.test/team/app:1');

  expect(lines(first.text)).toEqual([
    { status: 'Pulling from team/app', id: '1' },
    { status: `Digest: ${INDEX}` },
    { status: `Status: Downloaded newer image for ${NAME}` },
  ]);
  expect(lines(again.text).at(-1)).toEqual({ status: `Status: Image is up to date for ${NAME}` });
  expect(api.store.view().images.byName(NAME)?.id).toBe(ID);
  const { body } = await api.call('GET', `/images/${NAME}/json`);
  expect((await api.call('GET', `/images/registry.test/team/app@${INDEX}/json`)).body.Id).toBe(body.Id);
  expect(body).toMatchObject({ RepoTags: [NAME], RepoDigests: [`registry.test/team/app@${INDEX}`] });
});

test('without a tag every tag of the repository is pulled, and named one by one', async () => {
  const asked = serveRegistry(remote());

  const { text } = await api.call('POST', '/images/create?fromImage=registry.test/team/app');

  expect(pulls(asked).map(({ reference }) => reference)).toEqual([NAME, 'registry.test/team/app:2']);
  expect(lines(text).filter(({ id }) => id === undefined)).toEqual([
    { status: `Digest: ${INDEX}` },
    { status: `Digest: ${INDEX}` },
    { status: 'Status: Downloaded newer image for registry.test/team/app' },
  ]);
});

test('a refused pull answers a status, one that breaks off says so at the end', async () => {
  serveRegistry(remote());
  const missing = await api.call('POST', '/images/create?fromImage=registry.test/none&tag=1');
  expect(missing).toMatchObject({
    status: 404,
    body: { message: 'manifest for registry.test/none:1 not found' },
  });

  api.onStream = async function* () {
    yield* [];
    throw new ClusterError('unauthenticated', 'unauthorized: authentication required');
  };
  // A client would ask its user for our password on 401.
  expect(await api.call('POST', '/images/create?fromImage=a&tag=1')).toMatchObject({ status: 500 });

  api.onStream = async function* (): AsyncGenerator<Frame> {
    yield { body: { $case: 'progress', value: '{"status":"Downloading"}' } };
    throw new ClusterError('unavailable', 'the registry went away');
  };
  const broken = await api.call('POST', '/images/create?fromImage=a&tag=1');
  expect(broken.status).toBe(200);
  expect(lines(broken.text).at(-1)).toEqual({
    errorDetail: { message: 'the registry went away' },
    error: 'the registry went away',
  });
  expect((await api.call('POST', '/images/create?fromSrc=http://x/y')).status).toBe(501);
});

test('what is loaded is pushed by a node that holds it, and is then known to be at its registry', async () => {
  const asked = serveRegistry(remote());
  await api.addImage(NAME, ID);
  await api.store.update((tx) => {
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-2')!, imageDigests: [ID] });
  });

  const answer = await api.call('POST', '/images/registry.test/team/app/push?tag=1');

  expect(lines(answer.text)).toEqual([{ status: 'The push refers to' }]);
  expect(asked).toMatchObject([{ $case: 'imagePush', value: { name: NAME } }]);
  expect(api.store.view().images.get(ID)?.repoDigests).toEqual([`registry.test/team/app@${ID}`]);
  const missing = await api.call('POST', '/images/registry.test/none/push?tag=1');
  const message = 'An image does not exist locally with the tag: registry.test/none';
  expect(lines(missing.text)).toEqual([
    { status: 'The push refers to repository [registry.test/none]' },
    { errorDetail: { message }, error: message },
  ]);
});

test('what a name means is asked of its registry, unless it was loaded', async () => {
  serveRegistry(remote());
  const path = '/distribution/registry.test/team/app:1/json';
  expect((await api.call('GET', path)).body).toEqual({
    Descriptor: { digest: INDEX },
    Platforms: [{ os: 'linux' }],
  });

  await api.addImage(NAME, ID);
  expect((await api.call('GET', path)).body.Descriptor.digest).toBe(ID);

  await api.call('POST', '/images/create?fromImage=registry.test/team/app&tag=1');
  expect((await api.call('GET', path)).body.Descriptor.digest).toBe(INDEX);
  api.onStream = () => {
    throw new ClusterError('unavailable', 'no registry');
  };
  expect((await api.call('GET', path)).body.Descriptor.digest).toBe(ID);
});

/** As the fixture's own call, with headers. */
function post(
  path: string,
  body: object,
  headers: Record<string, string>,
): Promise<{ status: number; body: Json }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath: api.socketPath,
        method: 'POST',
        path,
        headers: { 'Content-Type': 'application/json', ...headers },
      },
      async (response) => {
        const text = Buffer.concat(await response.toArray()).toString('utf8');
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Json });
      },
    );
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

const create = (image: string, headers = {}) =>
  post('/services/create', { Name: 'web', TaskTemplate: { ContainerSpec: { Image: image } } }, headers);

test("a service's image that no node has is pinned by what its registry says of it", async () => {
  const asked = serveRegistry(remote());

  // As docker's client sends it once it has asked what the name means.
  const { body, status } = await create(`registry.test/team/app:1@${INDEX}`, { 'X-Registry-Auth': AUTH });

  expect(status).toBe(201);
  expect(pulls(asked)).toEqual([
    { reference: `registry.test/team/app@${INDEX}`, registryAuth: AUTH, platform: '', describeOnly: true },
  ]);
  const service = api.store.view().services.get(body.ID)!;
  expect(service.spec?.task?.container?.imageDigest).toBe(ID);
  expect(Buffer.from(service.registryAuth).includes('alice')).toBe(false);
  expect(JSON.stringify((await api.call('GET', '/services/web')).body)).not.toContain('alice');

  const missing = await create('registry.test/none:1');
  expect(missing.status).toBe(404);
  expect(missing.body.message).toMatch(/^No such image: registry.test\/none:1: manifest for .* not found/);
});

test("a node that must fetch a service's image is told its credentials, and no other is", async () => {
  serveRegistry(remote());
  const stop = api.runTasks();
  const { body } = await create(NAME, { 'X-Registry-Auth': AUTH });
  await expect.poll(() => api.store.view().tasks.size).toBe(1);
  const locator = new ImageLocator({ store: api.store, clock: api.deps.clock, sign: () => 'signed' });

  const located = await locator.locate('node-1', ID);

  expect(located.registryAuth).toBe(AUTH);
  expect(located.image?.repoDigests).toEqual([`registry.test/team/app@${INDEX}`]);
  await expect(locator.locate('node-2', ID)).rejects.toMatchObject({ kind: 'permissionDenied' });

  // An update without credentials keeps them; with others it has those, and a rollback the first again.
  const update = (query: string, headers = {}) => {
    const service = api.store.view().services.get(body.ID)!;
    const path = `/services/web/update?version=${service.meta!.index}${query}`;
    const spec = {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: NAME } },
      Mode: { Replicated: { Replicas: 1 } },
    };
    return post(path, spec, headers);
  };
  expect((await update('')).status).toBe(200);
  expect((await locator.locate('node-1', ID)).registryAuth).toBe(AUTH);
  expect((await update('', { 'X-Registry-Auth': 'b3RoZXI' })).status).toBe(200);
  expect((await locator.locate('node-1', ID)).registryAuth).toBe('b3RoZXI');
  expect((await update('&rollback=previous')).status).toBe(200);
  expect((await locator.locate('node-1', ID)).registryAuth).toBe(AUTH);
  stop();
});

test("a login is the registry's to judge", async () => {
  const asked = serveRegistry(remote());

  const answer = await api.call('POST', '/auth', {
    username: 'alice',
    password: 'secret',
    serveraddress: 'https://index.docker.io/v1/',
  });

  expect(answer.body).toEqual({ Status: 'Login Succeeded', IdentityToken: 'token' });
  expect(asked).toMatchObject([{ $case: 'registry', value: { kind: 'login', target: 'docker.io' } }]);
  api.onStream = () => {
    throw new ClusterError('unauthenticated', 'unauthorized: incorrect username or password');
  };
  expect(await api.call('POST', '/auth', { username: 'alice' })).toMatchObject({
    status: 401,
    body: { message: 'unauthorized: incorrect username or password' },
  });
});

test('a name without a tag is saved with all its tags, by the node that holds most of them', async () => {
  await api.addImage('docker.io/library/a:1', ID);
  await api.addImage('docker.io/library/a:2', INDEX);
  await api.addImage('docker.io/library/ab:1', `sha256:${'e'.repeat(64)}`);
  await api.store.update((tx) => {
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-1')!, imageDigests: [] });
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-2')!, imageDigests: [ID] });
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-3')!, imageDigests: [] });
  });
  api.onStream = async function* (nodeId, kind): AsyncGenerator<Frame> {
    yield { body: { $case: 'data', value: Buffer.from(JSON.stringify({ nodeId, kind })) } };
  };

  const { text } = await api.call('GET', '/images/a/get');

  const { nodeId, kind } = JSON.parse(text) as { nodeId: string; kind: { value: Json } };
  expect(nodeId).toBe('node-2');
  expect([kind.value, ...kind.value.more].map(({ names }: Json) => names[0]).sort()).toEqual([
    'docker.io/library/a:1',
    'docker.io/library/a:2',
  ]);
});

test('images are saved from a node that holds them all; an archive that breaks off is not taken for whole', async () => {
  await api.addImage('docker.io/library/a:1', ID);
  await api.addImage('docker.io/library/b:1', INDEX);
  await api.store.update((tx) => {
    tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-3')!, imageDigests: [ID, INDEX] });
  });
  api.onStream = async function* (nodeId, kind): AsyncGenerator<Frame> {
    yield { body: { $case: 'data', value: Buffer.from(JSON.stringify({ nodeId, kind })) } };
  };

  const { text, headers } = await api.call('GET', '/images/get?names=a:1&names=b:1');

  expect(headers['content-type']).toBe('application/x-tar');
  expect(JSON.parse(text)).toMatchObject({
    nodeId: 'node-3',
    kind: {
      value: {
        imageId: ID,
        names: ['docker.io/library/a:1'],
        more: [{ imageId: INDEX, names: ['docker.io/library/b:1'] }],
      },
    },
  });
  expect(await api.call('GET', '/images/none/get')).toMatchObject({
    status: 404,
    body: { message: 'No such image: none' },
  });
  api.onStream = async function* (): AsyncGenerator<Frame> {
    yield { body: { $case: 'data', value: Buffer.alloc(10) } };
    throw new ClusterError('unavailable', 'the node went away');
  };
  await expect(api.call('GET', '/images/a:1/get')).rejects.toThrow();
});
