import { chainIds } from '@tessera/shared/digest';
import { Image } from '@tessera/shared/model';
import type { SnapshotStore } from './snapshot-store.js';

/** An image whose content is known and verified. */
export interface DescribedImage {
  /** Digest of `manifest`. */
  readonly id: string;
  /** Normalised. */
  readonly names: readonly string[];
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly configDigest: string;
  readonly diffIds: readonly string[];
  /** The layers' blobs, bottom first. */
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  readonly repoDigests?: readonly string[];
}

/**
 * The image as the cluster keeps it.
 *
 * @param snapshots where its layers are unpacked; without, its size is that of its blobs
 */
export async function imageRecord(
  described: DescribedImage,
  snapshots: SnapshotStore | undefined,
  nowMs: number,
): Promise<Image> {
  const { id, names, manifest, config, configDigest, diffIds, layers, repoDigests = [] } = described;
  const facts =
    snapshots && (await Promise.all(chainIds(diffIds).map((chainId) => snapshots.facts(chainId))));
  const layerBytes = facts?.map(({ bytes }) => bytes) ?? [];
  const blobBytes = sum(layers.map(({ size }) => size));
  return Image.fromPartial({
    id,
    meta: { createdAtMs: nowMs, updatedAtMs: nowMs },
    configDigest,
    names: [...names],
    manifest,
    config,
    sizeBytes: facts ? sum(layerBytes) : blobBytes,
    blobBytes: blobBytes + config.length + manifest.length,
    layerDigests: layers.map(({ digest }) => digest),
    repoDigests: [...repoDigests],
    layerBytes,
  });
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
