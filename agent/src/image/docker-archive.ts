import { ClusterError } from '@tessera/shared/errors';
import { normalizeName } from '@tessera/shared/image-reference';
import { z } from 'zod';
import type { ArchiveDirectory } from './archive-directory.js';
import type { ArchivedBlob, ArchivedImage } from './archived-image.js';
import { LAYERS_MAX, parseJson } from './image-config.js';

const MANIFEST_FILE_BYTES_MAX = 4 * 1024 * 1024;

const manifestFileSchema = z.array(
  z.object({
    Config: z.string().min(1),
    RepoTags: z
      .array(z.string())
      .nullish()
      .transform((value) => value ?? []),
    Layers: z
      .array(z.string().min(1))
      .max(LAYERS_MAX, `has more than ${LAYERS_MAX} layers`)
      .nullish()
      .transform((value) => value ?? []),
  }),
);

/**
 * Source: moby image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format"; from Docker 25 on the
 * files it names lie in `blobs/sha256/`.
 * @throws ClusterError `invalidArgument`
 */
export async function readDockerArchive(archive: ArchiveDirectory): Promise<ArchivedImage[]> {
  const bytes = await archive.read('manifest.json', MANIFEST_FILE_BYTES_MAX);
  const entries = parseJson('image archive: manifest.json', bytes, manifestFileSchema);
  if (entries.length === 0) {
    throw new ClusterError('invalidArgument', 'image archive: manifest.json names no image');
  }
  return entries.map((entry) => ({
    names: entry.RepoTags.map(normalizeName),
    config: blobOf(entry.Config),
    layers: entry.Layers.map(blobOf),
  }));
}

/** Where the name is a digest, the content must have it. */
function blobOf(file: string): ArchivedBlob {
  const hex = /^(?:blobs\/sha256\/([0-9a-f]{64})|([0-9a-f]{64})\.json)$/.exec(file);
  const digits = hex?.[1] ?? hex?.[2];
  return digits === undefined ? { file } : { file, digest: `sha256:${digits}` };
}
