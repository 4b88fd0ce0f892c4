import { isDigest } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { z } from 'zod';
import { LAYERS_MAX, parseJson } from './image-config.js';

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** How a layer lies in its blob. */
export type LayerFormat = 'tar' | 'tar+gzip' | 'tar+zstd';

/** Something named by digest, as manifests and indexes name it (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export const descriptorSchema = z.object({
  mediaType: z
    .string()
    .nullish()
    .transform((value) => value ?? ''),
  digest: z.string().refine(isDigest, 'must be sha256: and 64 digits'),
  size: z.number().int().nonnegative(),
});

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(LAYERS_MAX, `has more than ${LAYERS_MAX} layers`),
  // With these it would be an index as well: what is read would depend on who reads (CVE-2021-41190).
  manifests: z.undefined({ error: 'a manifest cannot be an index as well' }).optional(),
});

/** @throws ClusterError `invalidArgument` */
export function parseManifest(bytes: Uint8Array): Manifest {
  const { config, layers } = parseJson('image manifest', bytes, manifestSchema);
  for (const { mediaType, digest } of layers) {
    if (/foreign|nondistributable/.test(mediaType)) {
      throw new ClusterError(
        'invalidArgument',
        `image manifest: layer ${digest} lies elsewhere (${mediaType}); images must hold all their layers`,
      );
    }
  }
  return { config, layers };
}

/**
 * The manifest of an image whose archive has none. The same config and layers give the same bytes, on every
 * host and in every version: its digest is the image's identity in the cluster.
 */
export function makeManifest(
  config: { readonly digest: string; readonly size: number },
  layers: readonly { readonly format: LayerFormat; readonly digest: string; readonly size: number }[],
): Buffer {
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: config.digest, size: config.size },
    layers: layers.map(({ format, digest, size }) => ({
      mediaType: `application/vnd.oci.image.layer.v1.${format}`,
      digest,
      size,
    })),
  };
  return Buffer.from(JSON.stringify(manifest));
}

/** By the first bytes, as the unpacker tells them apart. */
export function layerFormat(head: Uint8Array): LayerFormat {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'tar+gzip';
  const magic = Buffer.from(head.subarray(0, 4)).toString('hex');
  if (magic === '28b52ffd' || /^5.2a4d18$/.test(magic)) return 'tar+zstd';
  return 'tar';
}
