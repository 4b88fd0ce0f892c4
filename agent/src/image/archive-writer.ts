import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hexOf } from '@tessera/shared/digest';
import { familiarName } from '@tessera/shared/image-reference';
import type { Image } from '@tessera/shared/model';
import { type Pack, pack } from 'tar-stream';
import type { BlobStore } from './blob-store.js';
import { MEDIA_TYPES } from './image-manifest.js';
import { blobsOf } from './image-records.js';

export interface SavedImage {
  readonly image: Image;
  /** Normalised; those the archive is to carry. */
  readonly names: readonly string[];
}

/** One time for everything: the same images give the same archive. */
const MTIME = new Date(0);

/**
 * An archive as Docker has written since version 25: an OCI layout with manifest.json beside it, so that both
 * kinds of reader find what they know. Reading it slowly slows the writing; leaving it early ends it.
 */
export async function* writeArchive(
  blobs: BlobStore,
  images: readonly SavedImage[],
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const tar = pack();
  const writing = writeEntries(tar, blobs, images, signal).catch((error: Error) => tar.destroy(error));
  try {
    for await (const piece of tar) yield piece as Buffer;
  } finally {
    tar.destroy();
    await writing;
  }
}

async function writeEntries(
  tar: Pack,
  blobs: BlobStore,
  images: readonly SavedImage[],
  signal: AbortSignal,
): Promise<void> {
  for (const digest of new Set(images.flatMap(({ image }) => blobsOf(image)))) {
    const { sizeBytes, content } = await blobs.read(digest, 0);
    const entry = tar.entry({ name: fileOf(digest), size: sizeBytes, mode: 0o444, mtime: MTIME });
    await pipeline(Readable.from(content), entry, { signal });
  }
  const json = { 'index.json': index(images), 'manifest.json': dockerManifest(images), 'oci-layout': LAYOUT };
  for (const [name, value] of Object.entries(json)) {
    tar.entry({ name, mode: 0o444, mtime: MTIME }, JSON.stringify(value));
  }
  tar.finalize();
}

const LAYOUT = { imageLayoutVersion: '1.0.0' };

const fileOf = (digest: string) => `blobs/sha256/${hexOf(digest)}`;

const dockerManifest = (images: readonly SavedImage[]) =>
  images.map(({ image, names }) => ({
    Config: fileOf(image.configDigest),
    RepoTags: names.map(familiarName),
    Layers: image.layerDigests.map(fileOf),
  }));

const index = (images: readonly SavedImage[]) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: images.flatMap(({ image, names }) => {
    const { mediaType } = JSON.parse(image.manifest.toString()) as { mediaType?: string };
    const descriptor = {
      mediaType: mediaType ?? MEDIA_TYPES.ociManifest,
      digest: image.id,
      size: image.manifest.length,
    };
    if (names.length === 0) return [descriptor];
    return names.map((name) => ({
      ...descriptor,
      annotations: {
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
      },
    }));
  }),
});
