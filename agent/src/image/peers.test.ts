import { type Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { digestOf } from '@tessera/shared/digest';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Image } from '@tessera/shared/model';
import { FakeClock, SeededRandom } from '@tessera/shared/testing';
import { type ImageSource, PeerClient, type PeerServer, PeerService } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LocalImageStore } from './local-image-store.js';
import { PeerImageFetcher, type RegistryLayers } from './peer-fetcher.js';
import { peerServer } from './peer-server.js';
import { makeArchive, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

const TOKEN = 'token for node-2';
const signal = new AbortController().signal;

let fixture: StoreFixture;
let holder: LocalImageStore;
let asker: LocalImageStore;
let image: Image;
let servers: Server[];
beforeEach(async () => {
  fixture = new StoreFixture();
  servers = [];
  holder = await fixture.open('holder');
  asker = await fixture.open('images');
  const layers = [
    await makeLayer([{ name: 'large', content: Buffer.alloc(2_000_000, 'some text ') }]),
    await makeLayer([{ name: 'small', content: 'small' }]),
  ];
  const archive = await makeArchive([{ names: ['app'], layers }]);
  [image] = (await holder.load(inPieces(archive), () => {}, signal)) as [Image];
});
afterEach(() => {
  for (const server of servers) server.forceShutdown();
  fixture.remove();
});

/** A node's peer server. */
async function serve(nodeId: string, service: PeerServer): Promise<ImageSource> {
  const server = new Server();
  server.addService(PeerService, service);
  servers.push(server);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { nodeId, peerAddr: `127.0.0.1:${port}` };
}
const honest = () =>
  peerServer({
    images: holder,
    callerNodeId: () => 'node-2',
    verifyToken: async (token) => {
      if (token !== TOKEN) throw new ClusterError('permissionDenied', 'image token refused: it is another');
    },
  });
/** Sends the first `byteCount` bytes of what is asked for, changed by `change`, and then does `end`. */
const faulty = (
  byteCount: number,
  change: (bytes: Buffer) => void,
  end: 'fail' | 'hang' | 'end',
): PeerServer => ({
  async getBlob(call) {
    const bytes = (await holder.blobs.readAll(call.request.digest)).subarray(call.request.offset);
    const part = bytes.subarray(0, byteCount);
    change(part);
    for (let at = 0; at < part.length; at += 100_000) {
      call.write({ data: part.subarray(at, at + 100_000), totalBytes: bytes.length });
    }
    if (end === 'end') call.end();
    if (end === 'fail') call.emit('error', { code: 14, details: 'the node went down' });
  },
});

function useFetcher(
  sources: readonly ImageSource[],
  options: { clock?: FakeClock; token?: string; fromRegistry?: RegistryLayers } = {},
) {
  const asked: ImageSource[] = [];
  let locateCount = 0;
  const fetcher = new PeerImageFetcher({
    blobs: asker.blobs,
    clock: options.clock ?? systemClock,
    // Sources are tried in the order given.
    random: Object.assign(new SeededRandom(1), { next: () => 0 }),
    logger: silentLogger,
    locate: async () => {
      locateCount++;
      const located = options.fromRegistry
        ? { ...image, repoDigests: ['registry.test/app@sha256:1'] }
        : image;
      return { image: located, sources, token: options.token ?? TOKEN, registryAuth: 'auth' };
    },
    ...(options.fromRegistry ? { fromRegistry: options.fromRegistry } : {}),
    openPeer: (source) => {
      asked.push(source);
      return new PeerClient(source.peerAddr, credentials.createInsecure());
    },
  });
  asker.setFetcher(fetcher);
  return { asked, locateCount: () => locateCount };
}

test('an image that is not here is fetched from a node that holds it', async () => {
  useFetcher([await serve('node-1', honest())]);

  const local = await asker.ensure(image.id, 'task', signal);

  expect(local.layers).toHaveLength(2);
  expect(asker.get(image.id)).toEqual(image);
  expect(fixture.count('images')).toEqual({ ...fixture.count('holder') });
});

test('what no node gives comes from the registry', async () => {
  const given: string[] = [];
  const fromRegistry: RegistryLayers = async ({ repoDigests }, layers, auth) => {
    given.push(auth, ...repoDigests);
    for (const { digest } of layers) await asker.blobs.put(await holder.blobs.readAll(digest));
  };
  useFetcher([], { fromRegistry });
  await asker.ensure(image.id, 'task', signal);
  expect(given).toEqual(['auth', 'registry.test/app@sha256:1']);

  await asker.release('task');
  await asker.remove(image.id);
  const { locateCount } = useFetcher(
    [
      await serve(
        'node-1',
        faulty(1000, () => {}, 'fail'),
      ),
    ],
    { fromRegistry },
  );
  await asker.ensure(image.id, 'task', signal);
  expect(given).toHaveLength(4);
  expect(locateCount()).toBeGreaterThan(1);
});

test('a layer that breaks off goes on with the next node from where it stood', async () => {
  const offsets: number[] = [];
  const counting: PeerServer = {
    getBlob(call) {
      offsets.push(call.request.offset);
      (honest().getBlob as (c: typeof call) => void)(call);
    },
  };
  useFetcher([
    await serve(
      'node-1',
      faulty(500_000, () => {}, 'fail'),
    ),
    await serve('node-3', counting),
  ]);

  await asker.ensure(image.id, 'task', signal);

  expect(offsets.sort((a, b) => a - b).at(-1)).toBe(500_000);
  expect(asker.held()).toEqual([image.id]);
});

test('a node that sends something else is found out, and the next one asked', async () => {
  const corrupt = faulty(1e9, (bytes) => bytes.fill(1, 1000, 1100), 'end');
  useFetcher([await serve('node-1', corrupt), await serve('node-3', honest())]);

  await asker.ensure(image.id, 'task', signal);

  const [large] = image.layerDigests;
  expect(digestOf(await asker.blobs.readAll(large!))).toBe(large);
});

test('a node that sends too much, or ends early, is not believed', async () => {
  const long: PeerServer = {
    getBlob(call) {
      call.write({ data: Buffer.alloc(3_000_000), totalBytes: 3_000_000 });
      call.end();
    },
  };
  useFetcher([
    await serve('node-1', long),
    await serve(
      'node-3',
      faulty(10, () => {}, 'end'),
    ),
  ]);

  await expect(asker.ensure(image.id, 'task', signal)).rejects.toMatchObject({ kind: 'unavailable' });
  expect(fixture.count('images')).toMatchObject({ blobs: 0, records: 0, unfinished: 0 });
});

test('a node that falls silent is given up for the next', async () => {
  const clock = new FakeClock();
  const [large, small] = image.layerDigests as [string, string];
  const silent = faulty(100_000, () => {}, 'hang');
  const hanging: PeerServer = {
    getBlob: (call) => (call.request.digest === large ? silent : honest()).getBlob(call as never),
  };
  let isNextAsked = false;
  const next: PeerServer = {
    getBlob(call) {
      isNextAsked = true;
      honest().getBlob(call as never);
    },
  };
  useFetcher([await serve('node-1', hanging), await serve('node-3', next)], { clock });

  const ensuring = asker.ensure(image.id, 'task', signal);
  // Time passes only while the silent node alone is waited for.
  await vi.waitUntil(() => asker.blobs.size(small), { timeout: 20_000 });
  while (!isNextAsked) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1000);
  }

  expect((await ensuring).layers).toHaveLength(2);
});

test('when no node serves it the manager is asked again, and then it is unavailable', async () => {
  const gone = await serve('node-1', honest());
  servers.pop()!.forceShutdown();
  const { locateCount } = useFetcher([gone]);

  await expect(asker.ensure(image.id, 'task', signal)).rejects.toMatchObject({
    kind: 'unavailable',
    message: expect.stringMatching(/layer sha256:[0-9a-f]+ could not be fetched/) as string,
  });
  expect(locateCount()).toBeGreaterThan(1);
  expect(fixture.count('images')).toEqual(NOTHING);
});

test('a token for another node or image is refused', async () => {
  useFetcher([await serve('node-1', honest())], { token: 'forged' });

  await expect(asker.ensure(image.id, 'task', signal)).rejects.toThrow(/image token refused/);
});

test('blobs of other images than the token names are not served', async () => {
  const [other] = await holder.load(
    inPieces(await makeArchive([{ names: ['other'], layers: [await makeLayer([{ name: 'secret' }])] }])),
    () => {},
    signal,
  );
  const { peerAddr } = await serve('node-1', honest());
  const client = new PeerClient(peerAddr, credentials.createInsecure());

  const call = client.getBlob({
    imageId: image.id,
    digest: other!.layerDigests[0]!,
    token: TOKEN,
    offset: 0,
  });
  const error = await new Promise<Error>((resolve) => call.on('error', resolve).resume());
  (client as Client).close();

  expect(error.message).toMatch(/with blob sha256:[0-9a-f]+ is not on this node/);
});

test('what the manager says of an image must agree with its digest', async () => {
  const { id } = image;
  image = Image.fromPartial({ ...image, config: Buffer.from(image.config.toString().replace('{', '{ ')) });
  useFetcher([await serve('node-1', honest())]);

  await expect(asker.ensure(id, 'task', signal)).rejects.toThrow(/does not agree/);
});

test('an aborted fetch ends at once and leaves nothing unfinished', async () => {
  const abort = new AbortController();
  useFetcher([
    await serve(
      'node-1',
      faulty(100_000, () => abort.abort(), 'hang'),
    ),
  ]);

  await expect(asker.ensure(image.id, 'task', abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
  expect(fixture.count('images')).toEqual(NOTHING);
});
