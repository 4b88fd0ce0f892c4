import { digestOf } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import type { ArchiveDirectory } from './archive-directory.js';
import type { ArchivedBlob, ArchivedImage } from './archived-image.js';
import { measureFile } from './blob-store.js';
import { readDockerArchive } from './docker-archive.js';
import { CONFIG_BYTES_MAX, type ParsedConfig, parseConfig } from './image-config.js';
import { type LayerFormat, layerFormat, makeManifest } from './image-manifest.js';
import { readOciLayout } from './oci-layout.js';

/** A layer whose digest has been computed and found right. */
export interface MeasuredLayer {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly format: LayerFormat;
  readonly diffId: string;
}

/** An image of the archive with everything but the layers' content verified. */
export interface MeasuredImage {
  readonly names: readonly string[];
  /** Digest of `manifest`. */
  readonly id: string;
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly configDigest: string;
  readonly parsed: ParsedConfig;
  readonly layers: readonly MeasuredLayer[];
}

/**
 * The images of an archive, by `manifest.json` (`docker save`) and else by `index.json` (OCI layout). Archives of
 * newer Dockers have both; then each image keeps the manifest that its index has for it.
 *
 * @throws ClusterError `invalidArgument`
 */
export async function readArchive(archive: ArchiveDirectory): Promise<ArchivedImage[]> {
  const isDocker = await archive.has('manifest.json');
  const isOci = await archive.has('index.json');
  if (!isDocker && !isOci) {
    throw new ClusterError(
      'invalidArgument',
      'image archive: neither manifest.json nor index.json is in it; make it with `docker save` or as an OCI layout',
    );
  }
  if (!isDocker) return readOciLayout(archive);
  const images = await readDockerArchive(archive);
  // The index is a second opinion here: an archive whose index cannot be used is still a docker-archive.
  const withManifest = isOci ? await readOciLayout(archive).catch(() => []) : [];
  const byConfig = new Map(withManifest.map((image) => [image.config.digest, image]));
  return Promise.all(
    images.map(async (image) => {
      const digest = digestOf(await archive.read(image.config.file, CONFIG_BYTES_MAX));
      const { manifest, layers } = byConfig.get(digest) ?? {};
      return manifest && layers ? { ...image, manifest, layers } : image;
    }),
  );
}

/** Reads and verifies the image's configuration, and the digests of its layers as they lie in the archive. */
export async function measureImage(
  archive: ArchiveDirectory,
  image: ArchivedImage,
  signal: AbortSignal,
): Promise<MeasuredImage> {
  const config = await archive.read(image.config.file, CONFIG_BYTES_MAX);
  const configDigest = digestOf(config);
  requireDigest(image.config, configDigest);
  const parsed = parseConfig(config);
  if (parsed.os !== '' && parsed.os !== 'linux') {
    throw new ClusterError('invalidArgument', `image archive: the image is for ${parsed.os}, not for linux`);
  }
  if (parsed.diffIds.length !== image.layers.length) {
    throw new ClusterError(
      'invalidArgument',
      `image archive: ${image.config.file} names ${parsed.diffIds.length} layers, the manifest ${image.layers.length}`,
    );
  }

  const layers: MeasuredLayer[] = [];
  for (const [index, blob] of image.layers.entries()) {
    const path = await archive.path(blob.file);
    const measured = await measureFile(path, signal);
    requireDigest(blob, measured.digest);
    if (blob.size !== undefined && blob.size !== measured.sizeBytes) {
      throw new ClusterError(
        'invalidArgument',
        `image archive: '${blob.file}' has ${measured.sizeBytes} bytes instead of ${blob.size}`,
      );
    }
    const format = layerFormat(await archive.head(blob.file, 6));
    layers.push({ path, ...measured, format, diffId: parsed.diffIds[index]! });
  }
  const manifest =
    image.manifest ??
    makeManifest(
      { digest: configDigest, size: config.length },
      layers.map(({ format, digest, sizeBytes }) => ({ format, digest, size: sizeBytes })),
    );
  return { names: image.names, id: digestOf(manifest), manifest, config, configDigest, parsed, layers };
}

function requireDigest(blob: ArchivedBlob, found: string): void {
  if (blob.digest === undefined || blob.digest === found) return;
  throw new ClusterError(
    'invalidArgument',
    `image archive: '${blob.file}' has the digest ${found} instead of ${blob.digest}: the archive is damaged`,
  );
}
