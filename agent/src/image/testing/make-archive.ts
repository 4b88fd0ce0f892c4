import { digestOf, hexOf } from '@tessera/shared/digest';
import { normalizeName } from '@tessera/shared/image-reference';
import { layerFormat, makeManifest } from '../image-manifest.js';
import { type Compression, compress, type LayerEntry, makeLayer } from './make-layer.js';

/**
 * `docker`: as `docker save` wrote before version 25. `docker-oci`: as it writes since, an OCI layout with
 * manifest.json beside it. `oci`: an OCI layout alone.
 */
export type ArchiveFormat = 'docker' | 'docker-oci' | 'oci';

export interface ArchiveOptions {
  readonly format?: ArchiveFormat;
  readonly layerCompression?: Compression;
  readonly compression?: Compression;
}

export interface ImageContent {
  /** As `docker save` writes them: `busybox:latest`. */
  readonly names: readonly string[];
  /** Uncompressed layers, bottom first. */
  readonly layers: readonly Buffer[];
  /** The `config` of the image configuration: Cmd, Env and so on. */
  readonly config?: object;
  /** Diff ids to claim instead of the layers' own. */
  readonly diffIds?: readonly string[];
}

/** An archive of one or several images. The same content gives the same bytes. */
export async function makeArchive(
  images: readonly ImageContent[],
  options: ArchiveOptions = {},
): Promise<Buffer> {
  const entries = archiveEntries(images, options);
  return compress(await makeLayer(entries), options.compression ?? 'plain');
}

/** The archive's files, for tests that change some of them. */
export function archiveEntries(images: readonly ImageContent[], options: ArchiveOptions = {}): LayerEntry[] {
  const { format = 'docker', layerCompression = 'plain' } = options;
  const parts = images.map((image) => imageParts(image, layerCompression));
  const files = new Map<string, Buffer | string>();
  for (const part of parts) {
    if (format === 'docker') {
      files.set(`${hexOf(digestOf(part.config))}.json`, part.config);
      for (const layer of part.layers) files.set(oldLayerName(layer), layer);
    } else {
      for (const blob of [part.config, part.manifest, ...part.layers]) files.set(blobName(blob), blob);
    }
  }
  if (format !== 'docker') {
    files.set('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    files.set('index.json', JSON.stringify(index(parts)));
  }
  if (format !== 'oci') files.set('manifest.json', JSON.stringify(dockerManifest(parts, format)));
  return [...files].map(([name, content]) => ({ name, content }));
}

interface Parts {
  readonly names: readonly string[];
  readonly config: Buffer;
  readonly layers: readonly Buffer[];
  readonly manifest: Buffer;
}

function imageParts({ names, layers, config, diffIds }: ImageContent, compression: Compression): Parts {
  const blobs = layers.map((layer) => compress(layer, compression));
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: '2026-01-01T00:00:00Z',
      config: config ?? {},
      rootfs: { type: 'layers', diff_ids: diffIds ?? layers.map(digestOf) },
      history: layers.map((_, number) => ({ created_by: `layer ${number + 1}` })),
    }),
  );
  const manifest = makeManifest(
    { digest: digestOf(configBytes), size: configBytes.length },
    blobs.map((blob) => ({ format: layerFormat(blob), digest: digestOf(blob), size: blob.length })),
  );
  return { names, config: configBytes, layers: blobs, manifest };
}

const blobName = (blob: Buffer) => `blobs/sha256/${hexOf(digestOf(blob))}`;
const oldLayerName = (layer: Buffer) => `${hexOf(digestOf(layer))}/layer.tar`;

const dockerManifest = (parts: readonly Parts[], format: ArchiveFormat) =>
  parts.map(({ names, config, layers }) => ({
    Config: format === 'docker' ? `${hexOf(digestOf(config))}.json` : blobName(config),
    RepoTags: names,
    Layers: layers.map(format === 'docker' ? oldLayerName : blobName),
  }));

const index = (parts: readonly Parts[]) => ({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: parts.flatMap(({ names, manifest }) => {
    const descriptor = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digestOf(manifest),
      size: manifest.length,
    };
    if (names.length === 0) return [descriptor];
    return names.map((name) => ({
      ...descriptor,
      annotations: { 'io.containerd.image.name': normalizeName(name) },
    }));
  }),
});
