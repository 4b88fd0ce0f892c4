import { digestOf, hexOf } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { normalizeName } from '@tessera/shared/image-reference';
import { z } from 'zod';
import type { ArchiveDirectory } from './archive-directory.js';
import type { ArchivedBlob, ArchivedImage } from './archived-image.js';
import { MANIFEST_BYTES_MAX, parseJson } from './image-config.js';
import { type Descriptor, descriptorSchema, MEDIA_TYPES, parseManifest } from './image-manifest.js';

const INDEX_BYTES_MAX = 4 * 1024 * 1024;
/** An index may name indexes; real ones do so once. */
const INDEX_DEPTH_MAX = 4;

const indexedSchema = descriptorSchema.extend({
  platform: z
    .object({ os: z.string(), architecture: z.string(), variant: z.string().nullish() })
    .partial()
    .nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
type Indexed = z.output<typeof indexedSchema>;

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(indexedSchema).max(1000),
  layers: z.undefined({ error: 'an index cannot be a manifest as well' }).optional(),
});

/**
 * The images of an OCI layout. Of an image for several platforms it is the one for this machine.
 *
 * Source: OCI image specification, image-layout.md and annotations.md; `io.containerd.image.name` is what Docker
 * and containerd write the full name to.
 * @throws ClusterError `invalidArgument`
 */
export async function readOciLayout(archive: ArchiveDirectory): Promise<ArchivedImage[]> {
  const index = parseJson(
    'image archive: index.json',
    await archive.read('index.json', INDEX_BYTES_MAX),
    indexSchema,
  );
  const images = new Map<string, ArchivedImage>();
  for (const entry of index.manifests) {
    const manifest = await chooseManifest(archive, entry, INDEX_DEPTH_MAX);
    if (!manifest) continue;
    const names = [...(images.get(manifest.digest)?.names ?? []), ...namesOf(entry)];
    images.set(manifest.digest, await readImage(archive, manifest, [...new Set(names)]));
  }
  if (images.size === 0) {
    throw new ClusterError(
      'invalidArgument',
      `image archive: index.json names no image for linux/${architecture()}`,
    );
  }
  return [...images.values()];
}

const NODE_TO_OCI: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
const architecture = () => NODE_TO_OCI[process.arch] ?? process.arch;

const isIndex = (mediaType: string) =>
  mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerManifestList;

/** The entry itself, or the best one of the index it names. Undefined for what is no image to run. */
async function chooseManifest(
  archive: ArchiveDirectory,
  entry: Indexed,
  depth: number,
): Promise<Indexed | undefined> {
  if (entry.annotations?.['vnd.docker.reference.type'] !== undefined) return undefined;
  if (!isIndex(entry.mediaType)) return entry;
  if (depth === 0)
    throw new ClusterError('invalidArgument', 'image archive: indexes name indexes too deeply');
  const bytes = await readVerified(archive, entry, INDEX_BYTES_MAX);
  const { manifests } = parseJson(`image archive: index ${entry.digest}`, bytes, indexSchema);
  const fitting = manifests.filter(isForThisMachine);
  // An archive often holds the layers of one platform alone, whatever its index names.
  for (const candidate of fitting) {
    if (await archive.has(blobOf(candidate).file)) return chooseManifest(archive, candidate, depth - 1);
  }
  return undefined;
}

function isForThisMachine({ platform }: Indexed): boolean {
  if (!platform) return true;
  return platform.os === 'linux' && platform.architecture === architecture();
}

async function readImage(
  archive: ArchiveDirectory,
  descriptor: Descriptor,
  names: readonly string[],
): Promise<ArchivedImage> {
  const bytes = await readVerified(archive, descriptor, MANIFEST_BYTES_MAX);
  const { config, layers } = parseManifest(bytes);
  return { names, config: blobOf(config), layers: layers.map(blobOf), manifest: bytes };
}

async function readVerified(archive: ArchiveDirectory, descriptor: Descriptor, bytesMax: number) {
  const { file } = blobOf(descriptor);
  const bytes = await archive.read(file, bytesMax);
  if (digestOf(bytes) === descriptor.digest && bytes.length === descriptor.size) return bytes;
  throw new ClusterError(
    'invalidArgument',
    `image archive: '${file}' has another digest or size than its name says: the archive is damaged`,
  );
}

const blobOf = ({ digest, size }: Descriptor): ArchivedBlob & { file: string } => ({
  file: `blobs/sha256/${hexOf(digest)}`,
  digest,
  size,
});

function namesOf({ annotations }: Indexed): string[] {
  const full = annotations?.['io.containerd.image.name'];
  if (full !== undefined) return [normalizeName(full)];
  // A mere tag ("latest") names nothing.
  const reference = annotations?.['org.opencontainers.image.ref.name'];
  return reference !== undefined && /[/:]/.test(reference) ? [normalizeName(reference)] : [];
}
