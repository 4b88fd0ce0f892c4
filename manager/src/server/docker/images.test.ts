import { invalid } from '@tessera/shared/errors';
import { aTask, FakeClock } from '@tessera/shared/testing';
import type { Frame } from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiFixture, anImage } from '../testing/api-fixture.js';

const ID = `sha256:${'b'.repeat(64)}`;
const NAME = 'docker.io/library/busybox:latest';

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
});
afterEach(() => api[Symbol.asyncDispose]());

/** Nodes report that they hold an image. */
const hold = (nodeIds: readonly string[], imageId = ID) =>
  api.store.update((tx) => {
    for (const nodeId of nodeIds) {
      tx.put('nodeStatuses', { ...tx.nodeStatuses.get(nodeId)!, imageDigests: [imageId] });
    }
  });

/** The agent takes the whole archive, and answers one image under these names. */
function acceptLoad(
  names: readonly string[],
  after: () => Promise<unknown> = () => hold(['node-1', 'node-2']),
) {
  const seen: { nodeId: string; bytes: number } = { nodeId: '', bytes: 0 };
  api.onStream = async function* (nodeId, kind, received): AsyncGenerator<Frame> {
    if (kind.$case !== 'imageLoad') return;
    seen.nodeId = nodeId;
    for await (const { body } of received) if (body?.$case === 'data') seen.bytes += body.value.length;
    yield { body: { $case: 'progress', value: 'unpacking' } };
    yield { body: { $case: 'imageLoaded', value: { image: anImage(ID, names) } } };
    await after();
  };
  return seen;
}

const load = (content: Uint8Array, query = '') => api.call('POST', `/images/load${query}`, content);
const lines = (text: string) =>
  text
    .trim()
    .split(/\r?\n/)
    .map((line) => JSON.parse(line) as { stream?: string; error?: string });

describe('loading an image', () => {
  test("goes to the manager's own node, whole, and names what came of it", async () => {
    const seen = acceptLoad(['busybox:latest']);

    const answer = await load(Buffer.alloc(700_000, 1));

    expect(answer.status).toBe(200);
    expect(lines(answer.text)).toEqual([
      { stream: 'unpacking\n' },
      { stream: 'Loaded image: busybox:latest\n' },
    ]);
    expect(seen).toEqual({ nodeId: 'node-1', bytes: 700_000 });
    expect(api.store.view().images.byName(NAME)?.id).toBe(ID);
    expect(api.store.view().claim(`name/image/${NAME}`)).toBe(`image/${ID}`);
  });

  test('quietly, says only what was loaded', async () => {
    acceptLoad(['busybox:latest']);

    expect(lines((await load(Buffer.alloc(10), '?quiet=1')).text)).toEqual([
      { stream: 'Loaded image: busybox:latest\n' },
    ]);
  });

  test('is acknowledged only when a second node holds it', async () => {
    acceptLoad(['busybox:latest'], () => hold(['node-1']));
    let answered = false;
    const answer = load(Buffer.alloc(10)).then((value) => {
      answered = true;
      return value;
    });
    await expect.poll(() => api.store.view().images.size).toBe(1);
    await api.call('GET', '/images/json');
    const before = answered;

    await hold(['node-3']);

    expect(before).toBe(false);
    expect((await answer).status).toBe(200);
  });

  test('is answered with a warning when no second node comes to hold it', async () => {
    const clock = new FakeClock();
    await using own = await ApiFixture.start({ clock });
    own.onStream = async function* (): AsyncGenerator<Frame> {
      yield { body: { $case: 'imageLoaded', value: { image: anImage(ID, ['busybox:latest']) } } };
    };
    const answer = own.call('POST', '/images/load', Buffer.alloc(10));
    await expect.poll(() => own.store.view().images.size).toBe(1);
    // The wait begins when the store has told of the name.
    await expect.poll(() => clock.nextAtMs()).toBe(clock.now() + 120_000);

    clock.advance(120_000);

    expect(lines((await answer).text).at(-1)?.stream).toMatch(
      /^Warning: busybox:latest is held by fewer than 2/,
    );
  });

  test('takes another ready node when its own is not', async () => {
    await api.store.update((tx) => {
      tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-1')!, state: 'down' });
    });
    const seen = acceptLoad(['busybox:latest'], () => hold(['node-2', 'node-3']));

    await load(Buffer.alloc(10));

    expect(seen.nodeId).toBe('node-2');
  });

  test("that the node refuses ends with the node's words", async () => {
    api.onStream = async function* () {
      yield { body: { $case: 'progress', value: 'unpacking' } } as Frame;
      throw invalid('layer 1: entry "../x" leaves the archive');
    };

    const answer = await load(Buffer.alloc(10));

    expect(lines(answer.text).at(-1)).toMatchObject({ error: 'layer 1: entry "../x" leaves the archive' });
    expect(api.store.view().images.size).toBe(0);
  });

  test('refused before any of it was taken is an error of the request', async () => {
    // biome-ignore lint/correctness/useYield: it refuses before it says anything.
    api.onStream = async function* () {
      throw invalid('not an archive');
    };

    expect(await load(Buffer.alloc(3_000_000))).toMatchObject({
      status: 400,
      body: { message: 'not an archive' },
    });
  });

  test('moves a name from the image that had it', async () => {
    const old = await api.addImage(NAME, `sha256:${'1'.repeat(64)}`);
    acceptLoad(['busybox:latest']);

    await load(Buffer.alloc(10));

    const { images } = api.store.view();
    expect(images.byName(NAME)?.id).toBe(ID);
    expect(images.get(old.id)?.names).toEqual([]);
  });
});

describe('an image', () => {
  beforeEach(() => api.addImage(NAME, ID));

  test('is listed and inspected by name, digest and a beginning of its id', async () => {
    const { body } = await api.call('GET', '/images/json');

    expect(body).toMatchObject([
      { RepoTags: ['busybox:latest'], RepoDigests: [`busybox@${ID}`], Size: 4_261_550 },
    ]);
    for (const name of ['busybox', 'docker.io/library/busybox:latest', `busybox@${ID}`, ID.slice(7, 19)]) {
      expect((await api.call('GET', `/images/${name}/json`)).body.Id).toBe(body[0].Id);
    }
    expect(await api.call('GET', '/images/nginx/json')).toMatchObject({
      status: 404,
      body: { message: 'No such image: nginx:latest' },
    });
  });

  test('tells its digest to clients that pin it', async () => {
    const { body } = await api.call('GET', '/distribution/busybox:latest/json');

    expect(body).toMatchObject({
      Descriptor: { digest: ID },
      Platforms: [{ architecture: 'amd64', os: 'linux' }],
    });
  });

  test('takes further names, and goes with its last one', async () => {
    api.onStream = async function* () {};
    await api.call('POST', '/images/busybox/tag?repo=team/box&tag=1');

    const first = await api.call('DELETE', '/images/busybox');
    const second = await api.call('DELETE', '/images/team/box:1');

    expect(first.body).toEqual([{ Untagged: 'busybox:latest' }]);
    expect(second.body).toMatchObject([{ Untagged: 'team/box:1' }, { Deleted: expect.any(String) }]);
    expect(api.store.view().images.size).toBe(0);
    expect(api.store.view().claim(`name/image/${NAME}`)).toBeUndefined();
  });

  test('is taken from every node that holds it', async () => {
    await hold(['node-1', 'node-3']);
    const asked: string[] = [];
    // biome-ignore lint/correctness/useYield: an agent has nothing to say when it is done.
    api.onStream = async function* (nodeId, kind) {
      if (kind.$case === 'imageRemove') asked.push(`${nodeId} ${kind.value.imageId}`);
    };

    await api.call('DELETE', '/images/busybox');

    expect(asked.sort()).toEqual([`node-1 ${ID}`, `node-3 ${ID}`]);
  });

  test('goes by force alone while tasks of a service that is gone still end', async () => {
    await api.store.update((tx) => {
      const task = { ...aTask().spec!, container: { ...aTask().spec!.container!, imageDigest: ID } };
      tx.put('specs', { serviceId: 'service-1', version: 1, task });
      tx.put('tasks', aTask({ nodeId: 'node-2', state: 'assigned', desiredState: 'remove' }));
    });

    const answer = await api.call('DELETE', '/images/busybox');
    const forced = await api.call('DELETE', '/images/busybox?force=1');

    expect(answer.status).toBe(409);
    expect(answer.body.message).toContain(
      '"busybox" (must be forced) - image is being used by task web.1, which is shut down or about to be',
    );
    expect(forced.status).toBe(200);
    expect(api.store.view().images.size).toBe(0);
  });

  test('stays while a service uses it', async () => {
    await api.call('POST', '/services/create', {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
    });

    const answer = await api.call('DELETE', '/images/busybox?force=1');

    expect(answer).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('used by service web') },
    });
    expect(api.store.view().images.byName(NAME)?.id).toBe(ID);
  });
});
