import { DEFAULT_UNPACK_BOUNDS } from '@tessera/native';
import { digestOf } from '@tessera/shared/digest';
import type { Clock } from '@tessera/shared/env';
import { invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { BlobStore } from './blob-store.js';
import { CONFIG_BYTES_MAX, parseConfig } from './image-config.js';
import { makeManifest } from './image-manifest.js';
import { imageRecord } from './image-record.js';
import type { SnapshotStore } from './snapshot-store.js';

/** An image of one layer that has never been one before. */
export interface ImportedImage {
  /** Its configuration as OCI has it, without `rootfs`. */
  readonly config: Uint8Array;
  /** Normalised. */
  readonly names: readonly string[];
}

/** Makes an image of a tar: what is in it is the image's only layer. */
export class LayerImporter {
  constructor(
    private readonly parts: {
      readonly blobs: BlobStore;
      readonly snapshots: SnapshotStore;
      readonly clock: Clock;
    },
  ) {}

  /**
   * The tar stays as it came, compressed or not. Recording the image is the caller's.
   * @throws ClusterError `invalidArgument` for a bad tar, `resourceExhausted` beyond the bounds
   */
  async import(
    wanted: ImportedImage,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Image> {
    const { blobs, snapshots, clock } = this.parts;
    return blobs.withReceived(content, DEFAULT_UNPACK_BOUNDS.bytesMax, signal, async (blob) => {
      const diffId = await snapshots.register(blob, signal);
      await blobs.adopt(blob.path, blob.digest);
      const config = withRootfs(wanted.config, diffId);
      const configDigest = await blobs.put(config);
      const layer = { format: blob.format, digest: blob.digest, size: blob.sizeBytes };
      const manifest = makeManifest({ digest: configDigest, size: config.length }, [layer]);
      await blobs.put(manifest);
      const described = {
        id: digestOf(manifest),
        names: wanted.names,
        manifest,
        config,
        configDigest,
        diffIds: [diffId],
        layers: [layer],
      };
      return imageRecord(described, snapshots, clock.now());
    });
  }
}

function withRootfs(bytes: Uint8Array, diffId: string): Buffer {
  const rootfs = { type: 'layers', diff_ids: [diffId] };
  const config = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(bytes).toString('utf8')), rootfs }));
  if (config.length > CONFIG_BYTES_MAX)
    throw invalid(`image configuration is larger than ${CONFIG_BYTES_MAX} bytes`);
  parseConfig(config);
  return config;
}
