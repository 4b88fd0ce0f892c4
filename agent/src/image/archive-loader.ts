import { type HelperInput, type UnpackBounds, unpackArchive } from '@tessera/native';
import { chainIds } from '@tessera/shared/digest';
import type { Clock } from '@tessera/shared/env';
import type { Image } from '@tessera/shared/model';
import { ArchiveDirectory } from './archive-directory.js';
import type { BlobStore } from './blob-store.js';
import { type MeasuredImage, measureImage, readArchive } from './image-archive.js';
import { imageRecord } from './image-record.js';
import type { ScratchSpace } from './scratch-space.js';
import type { LayerSource, SnapshotStore } from './snapshot-store.js';

/**
 * Brings an archive's images into blobs and snapshots; recording them is the store's. The archive itself is
 * foreign, too: it is unpacked by the confined unpacker into a directory of the scratch space, and read there.
 */
export class ArchiveLoader {
  constructor(
    private readonly parts: {
      readonly blobs: BlobStore;
      readonly snapshots: SnapshotStore;
      readonly scratch: ScratchSpace;
      readonly clock: Clock;
      readonly bounds: UnpackBounds;
    },
  ) {}

  /** @throws ClusterError `invalidArgument` for a bad archive, `resourceExhausted` beyond the bounds */
  load(archive: HelperInput, signal: AbortSignal): Promise<Image[]> {
    const { scratch, bounds } = this.parts;
    return scratch.withDirectory('load', async (root) => {
      await unpackArchive({ mode: 'archive', root, input: archive, bounds }, signal);
      const directory = await ArchiveDirectory.at(root);
      const loaded = new Map<string, Image>();
      for (const archived of await readArchive(directory)) {
        const image = await this.#take(await measureImage(directory, archived, signal), signal);
        const names = new Set([...(loaded.get(image.id)?.names ?? []), ...image.names]);
        loaded.set(image.id, { ...image, names: [...names] });
      }
      return [...loaded.values()];
    });
  }

  async #take(measured: MeasuredImage, signal: AbortSignal): Promise<Image> {
    const { blobs, snapshots } = this.parts;
    const chain = chainIds(measured.parsed.diffIds);
    const sources = measured.layers.map(
      (layer, index): LayerSource => ({
        chainId: chain[index]!,
        diffId: layer.diffId,
        blobDigest: layer.digest,
        blobPath: layer.path,
      }),
    );
    await snapshots.ensureAll(sources, signal);
    for (const source of sources) await this.#verify(source, signal);
    for (const layer of measured.layers) await blobs.adopt(layer.path, layer.digest);
    await blobs.put(measured.manifest);
    await blobs.put(measured.config);
    return this.#describe(measured);
  }

  /** A layer that was unpacked from another blob has been taken by its diff id: ours may still differ. */
  async #verify(source: LayerSource, signal: AbortSignal): Promise<void> {
    const { snapshots } = this.parts;
    const { blobDigest } = await snapshots.facts(source.chainId);
    if (source.blobDigest === blobDigest || source.blobDigest === source.diffId) return;
    await snapshots.verify(source, signal);
  }

  #describe(measured: MeasuredImage): Promise<Image> {
    const { snapshots, clock } = this.parts;
    const { parsed, layers } = measured;
    const described = {
      ...measured,
      diffIds: parsed.diffIds,
      layers: layers.map(({ digest, sizeBytes }) => ({ digest, size: sizeBytes })),
    };
    return imageRecord(described, snapshots, clock.now());
  }
}
