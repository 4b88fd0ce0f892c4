import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_UNPACK_BOUNDS, type HelperInput, syncFileSystem, type UnpackBounds } from '@tessera/native';
import { chainIds } from '@tessera/shared/digest';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { familiarName } from '@tessera/shared/image-reference';
import type { Image } from '@tessera/shared/model';
import { ArchiveLoader } from './archive-loader.js';
import { writeArchive } from './archive-writer.js';
import { BlobStore } from './blob-store.js';
import { type CommitRequest, commitImage, type WriteLayer } from './image-commit.js';
import { parseConfig } from './image-config.js';
import { parseManifest } from './image-manifest.js';
import { blobsOf, ImageRecords } from './image-records.js';
import type { ImageFetcher, ImageStore, LocalImage } from './image-store.js';
import { type ImportedImage, LayerImporter } from './layer-importer.js';
import { PartialBlobs } from './partial-blobs.js';
import { HostRegistries, type ImageIntake, type Registries, type RegistryImages } from './registry/index.js';
import { ScratchSpace } from './scratch-space.js';
import { GroupCommit, SharedWork } from './shared-work.js';
import { type LayerSource, SnapshotStore } from './snapshot-store.js';

/** An image and the names that its archive is to carry for it. */
export interface SavedName {
  readonly imageId: string;
  readonly names: readonly string[];
}

export interface ImageStoreOptions {
  /** `<data-dir>/images`. */
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly bounds?: UnpackBounds;
}

/**
 * The images of this host, on its disk:
 *
 *   blobs/sha256/<hex>   manifests, configurations and layers as they came
 *   snapshots/<hex>/fs   layers unpacked, by chain id; beside it layer.json
 *   l/<short>            links to them, short enough for mount options
 *   records/<hex>        the images that are here whole
 *   partial/<hex>        blobs that broke off on their way here, to go on with
 *   tmp/                 whatever else is not whole yet; emptied at start
 *
 * An image is recorded last and forgotten first; what no record names is removed.
 */
export class LocalImageStore implements ImageStore {
  readonly blobs: BlobStore;
  readonly #records: ImageRecords;
  readonly #snapshots: SnapshotStore;
  readonly #loader: ArchiveLoader;
  readonly #scratch: ScratchSpace;
  readonly #partials: PartialBlobs;
  readonly #sync: GroupCommit;
  readonly #logger: Logger;
  readonly #fetching = new SharedWork<Image>();
  readonly #ready = new Map<string, LocalImage>();
  readonly #pins = new Map<string, Set<string>>();
  readonly #listeners = new Set<() => void>();
  /** Loads and fetches under way: what they have brought is not recorded yet, and must not be collected. */
  #busyCount = 0;
  #collecting: Promise<void> | undefined;
  #collectAgain = false;
  #fetcher: ImageFetcher | undefined;
  #registry: RegistryImages | undefined;
  /** Images that were to go before this start: kept until every task of before has had the time to pin its own. */
  #heldOver = new Set<string>();

  private constructor(private readonly options: ImageStoreOptions) {
    const { directory, bounds = DEFAULT_UNPACK_BOUNDS } = options;
    this.#logger = options.logger.child({ module: 'image' });
    this.#scratch = new ScratchSpace(join(directory, 'tmp'), options.random);
    this.#sync = new GroupCommit(() => syncFileSystem(directory));
    this.#partials = new PartialBlobs(join(directory, 'partial'), options.clock);
    this.blobs = new BlobStore(join(directory, 'blobs/sha256'), this.#scratch, this.#partials);
    this.#records = new ImageRecords(join(directory, 'records'), this.#scratch);
    this.#snapshots = new SnapshotStore({
      directory: join(directory, 'snapshots'),
      linkDirectory: join(directory, 'l'),
      scratch: this.#scratch,
      sync: this.#sync,
      bounds,
    });
    this.#loader = new ArchiveLoader({
      blobs: this.blobs,
      snapshots: this.#snapshots,
      scratch: this.#scratch,
      clock: options.clock,
      bounds,
    });
  }

  /** Takes over what an earlier agent left, without what it had not finished. */
  static async open(options: ImageStoreOptions): Promise<LocalImageStore> {
    for (const name of ['blobs/sha256', 'snapshots', 'l', 'records']) {
      await mkdir(join(options.directory, name), { recursive: true, mode: 0o700 });
    }
    const store = new LocalImageStore(options);
    await store.#open();
    return store;
  }

  /** Where images come from that are not here. Until it is given, `ensure` finds only what is here. */
  setFetcher(fetcher: ImageFetcher): void {
    this.#fetcher = fetcher;
  }

  /** How images are pulled from registries and pushed to them; undefined: not at all. */
  get registry(): RegistryImages | undefined {
    return this.#registry;
  }

  setRegistries(registries: Registries): void {
    this.#registry = new HostRegistries(registries, this);
  }

  /** Every task that lives on from before this start has pinned its image: the others may go. */
  async recovered(): Promise<void> {
    this.#heldOver.clear();
    await this.#collect();
  }

  async ensure(imageId: string, owner: string, signal: AbortSignal): Promise<LocalImage> {
    // Before anything else, so that it is not collected under our hands.
    const isNew = this.#pin(imageId, owner);
    try {
      return this.#ready.get(imageId) ?? (await this.#prepare(imageId, signal));
    } catch (error) {
      if (isNew) this.#unpin(imageId, owner);
      throw error;
    }
  }

  async release(owner: string): Promise<void> {
    const imageIds = this.#pins.get(owner);
    this.#pins.delete(owner);
    if ([...(imageIds ?? [])].some((imageId) => this.#records.get(imageId)?.removing)) await this.#collect();
  }

  async load(archive: HelperInput, progress: (line: string) => void, signal: AbortSignal): Promise<Image[]> {
    const images = await this.#whileBusy(async () =>
      this.#record(await this.#loader.load(archive, signal)),
    ).catch(async (error: unknown) => {
      await this.#collect();
      throw error;
    });
    for (const image of images) {
      for (const name of image.names) progress(`Loaded image: ${familiarName(name)}`);
      if (image.names.length === 0) progress(`Loaded image ID: ${image.configDigest}`);
    }
    return images;
  }

  /** Makes an image of a tar, and keeps it. */
  import(wanted: ImportedImage, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Image> {
    const parts = { blobs: this.blobs, snapshots: this.#snapshots, clock: this.options.clock };
    return this.bring(() => new LayerImporter(parts).import(wanted, content, signal));
  }

  /**
   * Runs `work`, which puts an image's blobs and layers in place, and records the image it returns. Nothing it brings
   * is collected meanwhile; what it leaves behind when it fails, is.
   */
  async bring(work: (into: ImageIntake) => Promise<Image>): Promise<Image> {
    try {
      return await this.#whileBusy(async () => {
        const image = await work({ blobs: this.blobs, snapshots: this.#snapshots });
        const [recorded] = await this.#record([image]);
        return recorded!;
      });
    } catch (error) {
      await this.#collect();
      throw error;
    }
  }

  /** A new image: `baseId`'s with the one layer more that `writeLayer` writes. */
  async commit(request: CommitRequest, writeLayer: WriteLayer, signal: AbortSignal): Promise<Image> {
    const base = this.get(request.baseId);
    if (!base) throw new ClusterError('notFound', `image ${request.baseId} is not on this node`);
    const parts = { scratch: this.#scratch, clock: this.options.clock };
    return this.bring((into) => commitImage(base, request, writeLayer, into, parts, signal));
  }

  async remove(imageId: string): Promise<void> {
    if (!this.#records.get(imageId)) return;
    await this.#records.markRemoving(imageId);
    this.#changed();
    await this.#collect();
  }

  held(): readonly string[] {
    return this.#records
      .list()
      .filter(({ removing }) => !removing)
      .map(({ image }) => image.id);
  }

  /** The image as it was recorded here; its names may have changed in the cluster since. */
  get(imageId: string): Image | undefined {
    return this.#records.get(imageId)?.image;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  readBlob(digest: string, offset: number) {
    return this.blobs.read(digest, offset);
  }

  /** An archive that `docker load` and `load` take. @throws ClusterError `notFound` */
  /** Images that are not here are fetched first. */
  async *save(images: readonly SavedName[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const saved: { image: Image; names: readonly string[] }[] = [];
    for (const { imageId, names } of images)
      saved.push({ image: this.get(imageId) ?? (await this.#fetch(imageId, signal)), names });
    yield* writeArchive(this.blobs, saved, signal);
  }

  // ---- one image

  async #prepare(imageId: string, signal: AbortSignal): Promise<LocalImage> {
    return this.#whileBusy(async () => {
      const image = this.#records.get(imageId)?.image ?? (await this.#fetch(imageId, signal));
      const { config, layers } = this.#describe(image);
      const snapshots = await this.#snapshots.ensureAll(layers, signal);
      const local: LocalImage = { id: image.id, config, layers: snapshots };
      this.#ready.set(image.id, local);
      return local;
    });
  }

  async #fetch(imageId: string, signal: AbortSignal): Promise<Image> {
    const fetcher = this.#fetcher;
    if (!fetcher) throw new ClusterError('notFound', `image ${imageId} is not on this node`);
    return this.#fetching.run(imageId, signal, async () => {
      const image = await fetcher.fetch(imageId, signal);
      const [recorded] = await this.#record([image]);
      this.#logger.info({ 'image.id': imageId }, 'fetched image');
      return recorded!;
    });
  }

  #describe(image: Image) {
    const parsed = parseConfig(image.config);
    const manifest = parseManifest(image.manifest);
    const chain = chainIds(parsed.diffIds);
    const layers = parsed.diffIds.map((diffId, index): LayerSource => {
      const blobDigest = manifest.layers[index]?.digest ?? '';
      return { chainId: chain[index]!, diffId, blobDigest, blobPath: this.blobs.path(blobDigest) };
    });
    return { config: parsed.run, layers };
  }

  // ---- what is here

  async #open(): Promise<void> {
    await this.#scratch.clear();
    await this.#partials.open();
    await this.#records.open();
    await this.#snapshots.open();
    for (const { image, removing } of this.#records.list()) {
      const missing = await this.#missingBlob(image);
      if (missing !== undefined) {
        this.#logger.warn(
          { 'image.id': image.id, blob: missing },
          'image has lost a blob: it is no longer here',
        );
        await this.#records.delete(image.id);
      } else if (removing) this.#heldOver.add(image.id);
    }
    if (this.#records.damaged)
      this.#logger.error(
        { directory: this.options.directory },
        'an image record cannot be read: nothing is collected',
      );
    await this.#collect();
  }

  async #missingBlob(image: Image): Promise<string | undefined> {
    for (const digest of blobsOf(image)) {
      if ((await this.blobs.size(digest)) === undefined) return digest;
    }
    return undefined;
  }

  async #record(images: readonly Image[]): Promise<Image[]> {
    await this.#sync.run();
    const recorded: Image[] = [];
    try {
      for (const image of images) {
        const isNew = this.#records.get(image.id) === undefined;
        await this.#records.put(image);
        this.#heldOver.delete(image.id);
        if (isNew) recorded.push(image);
      }
    } catch (error) {
      for (const image of recorded) await this.#records.delete(image.id);
      throw error;
    }
    this.#changed();
    return [...images];
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  // ---- pins and collection

  #pin(imageId: string, owner: string): boolean {
    const imageIds = this.#pins.get(owner) ?? new Set<string>();
    const isNew = !imageIds.has(imageId);
    this.#pins.set(owner, imageIds.add(imageId));
    return isNew;
  }

  #unpin(imageId: string, owner: string): void {
    const imageIds = this.#pins.get(owner);
    imageIds?.delete(imageId);
    if (imageIds?.size === 0) this.#pins.delete(owner);
  }

  async #whileBusy<T>(work: () => Promise<T>): Promise<T> {
    // A collection under way has already looked at what is used.
    while (this.#collecting) await this.#collecting;
    this.#busyCount++;
    try {
      return await work();
    } finally {
      this.#busyCount--;
      if (this.#collectAgain) await this.#collect();
    }
  }

  /** Removes what nothing needs. Put off while something is being brought in. */
  async #collect(): Promise<void> {
    this.#collectAgain = true;
    while (this.#collectAgain && this.#busyCount === 0) {
      if (this.#collecting) {
        await this.#collecting;
        continue;
      }
      this.#collectAgain = false;
      this.#collecting = this.#collectOnce()
        .catch((error: unknown) => this.#logger.error({ error }, 'removing unused images failed'))
        .finally(() => {
          this.#collecting = undefined;
        });
      await this.#collecting;
    }
  }

  async #collectOnce(): Promise<void> {
    if (this.#records.damaged) return;
    const pinned = new Set([...this.#pins.values()].flatMap((imageIds) => [...imageIds]));
    const doomed = this.#records
      .list()
      .filter(({ removing }) => removing)
      .map(({ image }) => image.id)
      .filter((imageId) => !pinned.has(imageId) && !this.#heldOver.has(imageId));
    // Before the first wait: whoever asks for one of them from here on finds it gone, and waits for our end.
    for (const imageId of doomed) this.#ready.delete(imageId);
    for (const imageId of doomed) {
      await this.#records.delete(imageId);
      this.#logger.info({ 'image.id': imageId }, 'removed image');
    }
    const images = this.#records.list().map(({ image }) => image);
    const blobs = new Set(images.flatMap(blobsOf));
    const chains = new Set(images.flatMap((image) => chainIds(parseConfig(image.config).diffIds)));
    for (const digest of await this.blobs.list()) if (!blobs.has(digest)) await this.blobs.delete(digest);
    for (const chainId of this.#snapshots.list()) {
      if (!chains.has(chainId)) await this.#snapshots.delete(chainId);
    }
    await this.#partials.sweep();
  }
}
