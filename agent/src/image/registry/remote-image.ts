import { isDigest } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { type Platform, platformFit, platformOfConfig, platformText } from '@tessera/shared/platform';
import { z } from 'zod';
import {
  CONFIG_BYTES_MAX,
  MANIFEST_BYTES_MAX,
  type ParsedConfig,
  parseConfig,
  parseJson,
} from '../image-config.js';
import { descriptorSchema, type Manifest, MEDIA_TYPES, parseManifest } from '../image-manifest.js';
import type { FetchedManifest, Repository } from './repository.js';

/** Indexes may name indexes; real ones do not. */
const INDEX_DEPTH_MAX = 3;
const INDEX_ENTRIES_MAX = 1000;

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const platformSchema = z.object({ os: text, architecture: text, variant: text });
const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: text,
  manifests: z
    .array(descriptorSchema.extend({ platform: platformSchema.nullish() }))
    .max(INDEX_ENTRIES_MAX, `has more than ${INDEX_ENTRIES_MAX} entries`),
  // With these it would be a manifest as well (CVE-2021-41190).
  config: z.undefined({ error: 'an index cannot be a manifest as well' }).optional(),
  layers: z.undefined({ error: 'an index cannot be a manifest as well' }).optional(),
});
const kindSchema = z.object({
  schemaVersion: z.number().nullish(),
  mediaType: z.string().nullish(),
  manifests: z.unknown().optional(),
  fsLayers: z.unknown().optional(),
});

const CONFIG_TYPES = ['application/vnd.docker.container.image.v1+json', MEDIA_TYPES.ociConfig, ''];

/** An image of a registry, read as far as its configuration; its layers are still there. */
export interface RemoteImage {
  /** Of the manifest or index the name led to: what Docker calls the image's digest. */
  readonly digest: string;
  /** Of the manifest for the platform: the image's id in the cluster. */
  readonly manifestDigest: string;
  readonly manifestBytes: Buffer;
  readonly manifest: Manifest;
  readonly configBytes: Buffer;
  readonly config: ParsedConfig;
}

/** What a name leads to, before a platform is chosen. */
export interface RemoteDescription {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platforms: readonly Platform[];
}

/**
 * Reads what `reference` names, for `platform`.
 *
 * @param familiar the reference as the user writes it
 * @throws ClusterError `notFound` when there is none for the platform, `invalidArgument` for what is no image
 */
export async function readRemoteImage(
  repository: Repository,
  reference: string,
  platform: Platform,
  familiar: string,
  signal: AbortSignal,
): Promise<RemoteImage> {
  const first = await resolved(repository, reference, signal);
  let fetched = first;
  for (let depth = 0; kindOf(fetched, familiar) === 'index'; depth++) {
    if (depth === INDEX_DEPTH_MAX)
      throw new ClusterError('invalidArgument', `image ${familiar}: its indexes name indexes without an end`);
    const chosen = choose(fetched, platform);
    fetched = await repository.manifest(chosen.digest, signal);
    if (fetched.bytes.length !== chosen.size) throw wrongSize('manifest', chosen.digest);
  }
  const { manifest, config, configBytes } = await readManifest(repository, fetched, signal);
  const actual = { os: config.os || 'linux', architecture: config.architecture, variant: '' };
  if (actual.os !== 'linux')
    throw new ClusterError('invalidArgument', `image ${familiar} is for ${actual.os}, not for linux`);
  if (actual.os !== platform.os || (actual.architecture || platform.architecture) !== platform.architecture)
    throw new ClusterError(
      'notFound',
      `image with reference ${familiar} was found but does not match the specified platform: wanted ${platformText(platform)}, actual: ${platformText(actual)}`,
    );
  return {
    digest: first.digest,
    manifestDigest: fetched.digest,
    manifestBytes: fetched.bytes,
    manifest,
    config,
    configBytes,
  };
}

/** What `reference` names, and for which platforms there is one. */
export async function describeRemote(
  repository: Repository,
  reference: string,
  familiar: string,
  signal: AbortSignal,
): Promise<RemoteDescription> {
  const fetched = await resolved(repository, reference, signal);
  const described = { mediaType: mediaTypeOf(fetched), digest: fetched.digest, size: fetched.bytes.length };
  if (kindOf(fetched, familiar) === 'index') {
    const { manifests } = parseJson('image index', fetched.bytes, indexSchema);
    return { ...described, platforms: manifests.flatMap(({ platform }) => (platform ? [platform] : [])) };
  }
  const { configBytes } = await readManifest(repository, fetched, signal);
  const platform = platformOfConfig(configBytes);
  return { ...described, platforms: platform ? [platform] : [] };
}

/** As dockerd: a tag is looked up first, which registries that count pulls do not count. */
async function resolved(
  repository: Repository,
  reference: string,
  signal: AbortSignal,
): Promise<FetchedManifest> {
  const digest = isDigest(reference) ? reference : await repository.resolve(reference, signal);
  return repository.manifest(digest ?? reference, signal);
}

async function readManifest(repository: Repository, fetched: FetchedManifest, signal: AbortSignal) {
  const what = `image manifest ${fetched.digest}`;
  if (fetched.bytes.length > MANIFEST_BYTES_MAX)
    throw new ClusterError('invalidArgument', `${what} is larger than ${MANIFEST_BYTES_MAX} bytes`);
  const manifest = parseManifest(fetched.bytes);
  const { mediaType, digest, size } = manifest.config;
  if (!CONFIG_TYPES.includes(mediaType))
    throw new ClusterError(
      'invalidArgument',
      `unsupported media type ${mediaType}: ${what} is of no container image`,
    );
  if (size > CONFIG_BYTES_MAX)
    throw new ClusterError(
      'invalidArgument',
      `${what}: its configuration is larger than ${CONFIG_BYTES_MAX} bytes`,
    );
  const configBytes = await repository.smallBlob(digest, size, signal);
  const config = parseConfig(configBytes);
  if (config.diffIds.length !== manifest.layers.length)
    throw new ClusterError(
      'invalidArgument',
      `${what}: its configuration names ${config.diffIds.length} layers, the manifest ${manifest.layers.length}`,
    );
  return { manifest, config, configBytes };
}

/** @throws ClusterError `invalidArgument` for what is neither, `unimplemented` for schema 1 */
function kindOf(fetched: FetchedManifest, familiar: string): 'index' | 'manifest' {
  const content = parseJson(`manifest of ${familiar}`, fetched.bytes, kindSchema);
  if (
    content.schemaVersion === 1 ||
    content.fsLayers !== undefined ||
    fetched.mediaType.includes('docker.distribution.manifest.v1+')
  )
    throw new ClusterError(
      'unimplemented',
      `${familiar} has a Docker image manifest of version 2, schema 1, which is no longer supported: push it again with a Docker of version 1.10 or later`,
    );
  const mediaType = mediaTypeOf(fetched);
  // Header and content must agree: else what is read depends on who reads (CVE-2021-41190).
  if (content.mediaType && isKnown(fetched.mediaType) && content.mediaType !== fetched.mediaType)
    throw new ClusterError(
      'invalidArgument',
      `manifest of ${familiar}: it says of itself ${content.mediaType}, the registry says ${fetched.mediaType}`,
    );
  const isIndex = mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerManifestList;
  if (isIndex) return 'index';
  if (mediaType === MEDIA_TYPES.ociManifest || mediaType === MEDIA_TYPES.dockerManifest) return 'manifest';
  if (mediaType && !/^(application\/(json|octet-stream)|text\/plain)$/.test(mediaType))
    throw new ClusterError('invalidArgument', `manifest of ${familiar}: unsupported media type ${mediaType}`);
  return content.manifests === undefined ? 'manifest' : 'index';
}

const isKnown = (mediaType: string): boolean => (Object.values(MEDIA_TYPES) as string[]).includes(mediaType);

function mediaTypeOf({ mediaType, bytes }: FetchedManifest): string {
  if (isKnown(mediaType)) return mediaType;
  const inside = parseJson('manifest', bytes, kindSchema).mediaType;
  return inside || mediaType;
}

function choose(fetched: FetchedManifest, platform: Platform) {
  const { manifests } = parseJson('image index', fetched.bytes, indexSchema);
  const fits = manifests
    .map((entry) => ({ entry, fit: entry.platform ? platformFit(platform, entry.platform) : 1 }))
    .filter(({ fit }) => fit > 0)
    // The first of equals, as Docker.
    .sort((a, b) => b.fit - a.fit);
  const best = fits[0];
  if (!best)
    throw new ClusterError(
      'notFound',
      `no matching manifest for ${platformText(platform)} in the manifest list entries`,
    );
  return best.entry;
}

const wrongSize = (what: string, digest: string) =>
  new ClusterError('invalidArgument', `${what} ${digest} has another size than its index says`);
