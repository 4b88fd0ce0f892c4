import { execFileSync } from 'node:child_process';
import { lstat, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { digestOf } from '@tessera/shared/digest';
import type { Image } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ImageFetcher, LocalImage } from './image-store.js';
import type { LocalImageStore } from './local-image-store.js';
import { busyboxImage, type ImageContent, makeArchive, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

let fixture: StoreFixture;
beforeEach(() => {
  fixture = new StoreFixture();
});
afterEach(() => fixture.remove());

const signal = new AbortController().signal;
const load = async (store: LocalImageStore, ...images: ImageContent[]) =>
  store.load(inPieces(await makeArchive(images)), () => {}, signal);
const small = async (name: string, ...files: string[]): Promise<ImageContent> => ({
  names: [name],
  layers: await Promise.all(files.map((file) => makeLayer([{ name: file, content: file }]))),
});

test('a loaded image is held, and its layers can be mounted', async () => {
  const archive = await makeArchive([await busyboxImage()]);
  const store = await fixture.open();
  const lines: string[] = [];

  const [image] = await store.load(inPieces(archive), (line) => lines.push(line), signal);
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
  expect(overlay(local, 'merged/bin/busybox true && ls merged')).toContain('www');
});

/** Runs `script` where the image is mounted at `merged`, in a mount namespace of its own. */
function overlay({ layers }: LocalImage, script: string): string {
  const links = dirname(layers[0]!.shortPath);
  const lower = layers
    .map(({ shortPath }) => basename(shortPath))
    .reverse()
    .join(':');
  // busybox mounts by mount(2), whose options must fit a page, as the agent does where the kernel is old.
  const mount = `busybox mount -t overlay -o lowerdir=${lower},upperdir=upper,workdir=work overlay merged`;
  const command = `cd ${links} && mkdir merged upper work && trap 'umount merged; rm -r merged upper work' EXIT && ${mount} && ${script}`;
  return execFileSync('unshare', ['-m', 'sh', '-c', command], { encoding: 'utf8' });
}

test('an image of 127 layers can be mounted by its short links', async () => {
  const store = await fixture.open();
  const [image] = await load(store, await busyboxImage({ layers: 127 }));

  const local = await store.ensure(image!.id, 'task-1', signal);

  expect(local.layers).toHaveLength(127);
  expect(overlay(local, 'ls merged/layers | wc -l; cat merged/layers/127 merged/layers/2')).toBe(
    '126\n127\n2\n',
  );
});

test('layers that images share are kept once, and go with the last of them', async () => {
  const store = await fixture.open();
  const images = await load(store, await small('one', 'base', 'first'), await small('two', 'base', 'second'));
  expect(fixture.count()).toMatchObject({ snapshots: 3, links: 3, records: 2, unfinished: 0 });

  await store.remove(images[0]!.id);
  expect(fixture.count()).toMatchObject({ snapshots: 2, links: 2, records: 1, blobs: 4 });
  expect((await store.ensure(images[1]!.id, 'task', signal)).layers).toHaveLength(2);

  await store.release('task');
  await store.remove(images[1]!.id);
  expect(fixture.count()).toEqual(NOTHING);
});

test('an image that a task uses is removed once the task has released it', async () => {
  const store = await fixture.open();
  const [image] = await load(store, await small('app', 'file'));
  const { layers } = await store.ensure(image!.id, 'task-1', signal);
  await store.ensure(image!.id, 'task-2', signal);

  await store.remove(image!.id);
  expect(store.held()).toEqual([]);
  await store.release('task-1');
  expect(await readFile(join(layers[0]!.path, 'file'), 'utf8')).toBe('file');

  await store.release('task-2');
  expect(fixture.count()).toEqual(NOTHING);
});

test('what was held before a restart is held after it', async () => {
  const before = await fixture.open();
  const [image] = await load(before, await small('app', 'file'));

  const after = await fixture.open();

  expect(after.held()).toEqual([image!.id]);
  expect((await after.ensure(image!.id, 'task', signal)).layers).toHaveLength(1);
});

test('an image to be removed outlives a restart until the tasks of before have been found', async () => {
  const before = await fixture.open();
  const [image] = await load(before, await small('app', 'file'));
  await before.ensure(image!.id, 'task', signal);
  await before.remove(image!.id);

  const after = await fixture.open();
  await after.release('some other task');
  await after.ensure(image!.id, 'task', signal);
  await after.recovered();
  expect(fixture.count()).toMatchObject({ snapshots: 1, records: 1 });

  await after.release('task');
  expect(fixture.count()).toEqual(NOTHING);
});

test('an image that is loaded again while it waits for its removal stays', async () => {
  const store = await fixture.open();
  const [image] = await load(store, await small('app', 'file'));
  await store.ensure(image!.id, 'task', signal);
  await store.remove(image!.id);

  await load(store, await small('app', 'file'));
  await store.release('task');

  expect(store.held()).toEqual([image!.id]);
});

test('a blob that was lost while the agent was away takes its image out of what is held', async () => {
  const before = await fixture.open();
  const [image] = await load(before, await small('app', 'file'));
  await before.blobs.delete(image!.layerDigests[0]!);

  const after = await fixture.open();

  expect(after.held()).toEqual([]);
  expect(fixture.count()).toEqual(NOTHING);
});

test('listeners hear of every change of what is held', async () => {
  const store = await fixture.open();
  const seen: (readonly string[])[] = [];
  const stop = store.onChange(() => seen.push(store.held()));

  const [image] = await load(store, await small('app', 'file'));
  await store.remove(image!.id);
  stop();
  await load(store, await small('other', 'file'));

  expect(seen).toEqual([[image!.id], []]);
});

/** A fetcher that takes the image's blobs from another store, and counts. */
class FetcherOf implements ImageFetcher {
  fetchCount = 0;
  gate: Promise<void> = Promise.resolve();
  constructor(
    private readonly from: LocalImageStore,
    private readonly to: LocalImageStore,
  ) {}

  async fetch(imageId: string, abort: AbortSignal): Promise<Image> {
    this.fetchCount++;
    await Promise.race([
      this.gate,
      new Promise((_, reject) => abort.addEventListener('abort', () => reject(abort.reason as Error))),
    ]);
    const image = this.from.get(imageId)!;
    for (const digest of [image.configDigest, image.id, ...image.layerDigests]) {
      await this.to.blobs.put(await this.from.blobs.readAll(digest));
    }
    return image;
  }
}

async function twoStores() {
  const [holder, store] = await Promise.all([fixture.open('holder'), fixture.open('images')]);
  const [image] = await load(holder, await small('app', 'base', 'top'));
  const fetcher = new FetcherOf(holder, store);
  store.setFetcher(fetcher);
  return { store, fetcher, imageId: image!.id };
}

test('ensures of one image at the same time share the fetching and the unpacking', async () => {
  const { store, fetcher, imageId } = await twoStores();

  const locals = await Promise.all(['a', 'b', 'c'].map((owner) => store.ensure(imageId, owner, signal)));

  expect(fetcher.fetchCount).toBe(1);
  expect(new Set(locals.flatMap(({ layers }) => layers.map(({ path }) => path))).size).toBe(2);
  expect(fixture.count()).toMatchObject({ snapshots: 2, records: 1, unfinished: 0 });
});

test('an ensure goes on when the one it shared the work with is aborted', async () => {
  const { store, fetcher, imageId } = await twoStores();
  let open = () => {};
  fetcher.gate = new Promise((resolve) => {
    open = resolve;
  });
  const first = new AbortController();
  const aborted = store.ensure(imageId, 'first', first.signal);
  const other = store.ensure(imageId, 'second', signal);

  first.abort();
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  open();

  expect((await other).layers).toHaveLength(2);
  expect(fetcher.fetchCount).toBe(2);
});

test('an image that is nowhere is not found, and leaves no pin', async () => {
  const store = await fixture.open();

  await expect(store.ensure(digestOf(Buffer.from('x')), 'task', signal)).rejects.toMatchObject({
    kind: 'notFound',
  });
});

test('a blob is read from any offset', async () => {
  const store = await fixture.open();
  const [image] = await load(store, await small('app', 'file'));
  const digest = image!.configDigest;

  const { sizeBytes, content } = await store.readBlob(digest, 10);
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);

  expect(sizeBytes).toBe(image!.config.length);
  expect(Buffer.concat(pieces)).toEqual(image!.config.subarray(10));
  await expect(store.readBlob(digest, sizeBytes + 1)).rejects.toMatchObject({ kind: 'invalidArgument' });
  await expect(store.readBlob(digestOf(Buffer.from('x')), 0)).rejects.toMatchObject({ kind: 'notFound' });
});

test('a saved image loads elsewhere as the same image', async () => {
  const store = await fixture.open();
  const [image] = await load(store, await small('app:v1', 'base', 'top'));

  const saved = store.save([{ imageId: image!.id, names: image!.names }], signal);
  const [again] = await (await fixture.open('other')).load(saved, () => {}, signal);

  expect(again).toEqual({ ...image, meta: again!.meta });
});
