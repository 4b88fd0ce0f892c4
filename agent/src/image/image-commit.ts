import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { UnpackReport } from '@tessera/native';
import { chainIds, digestOf } from '@tessera/shared/digest';
import type { Clock } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import { z } from 'zod';
import { measureFile } from './blob-store.js';
import { CONFIG_BYTES_MAX, LAYERS_MAX, parseConfig, parseJson } from './image-config.js';
import { type LayerFormat, makeManifest, parseManifest } from './image-manifest.js';
import { imageRecord } from './image-record.js';
import type { ImageIntake } from './registry/index.js';
import type { ScratchSpace } from './scratch-space.js';

export interface CommitRequest {
  /** The image it is based on, which is here. */
  readonly baseId: string;
  /** The new image's `config`, as JSON. */
  readonly config: Uint8Array;
  readonly author: string;
  readonly comment: string;
  readonly createdBy: string;
}

/** Writes the one layer more, a tar compressed by gzip, to a file. */
export type WriteLayer = (fileFd: number) => Promise<UnpackReport>;

interface NewLayer {
  readonly diffId: string;
  readonly digest: string;
  readonly size: number;
}

const object = z.record(z.string(), z.unknown());
const configuration = z.looseObject({
  history: z.array(z.unknown()).nullish(),
  rootfs: z.looseObject({ diff_ids: z.array(z.string()).nullish() }),
});

/**
 * A new image: what another one has, and one layer more. Recording it is the caller's.
 *
 * What a layer holds comes from a container: it is unpacked, and so looked at, like one from a stranger.
 */
export async function commitImage(
  base: Image,
  request: CommitRequest,
  writeLayer: WriteLayer,
  { blobs, snapshots }: ImageIntake,
  { scratch, clock }: { readonly scratch: ScratchSpace; readonly clock: Clock },
  signal: AbortSignal,
): Promise<Image> {
  return scratch.withDirectory('commit', async (directory) => {
    const path = join(directory, 'layer.tar.gz');
    const report = await toFile(path, writeLayer);
    // As Docker: where nothing was written, there is no layer.
    const measured = report.entries > 0 ? await measureFile(path, signal) : undefined;
    const layer = measured && { diffId: report.diffId, digest: measured.digest, size: measured.sizeBytes };
    const config = newConfig(base, request, layer, new Date(clock.now()).toISOString());
    const manifest = newManifest(base, config, layer);
    const { diffIds } = parseConfig(config);
    if (layer) {
      const source = {
        chainId: chainIds(diffIds).at(-1)!,
        diffId: layer.diffId,
        blobDigest: layer.digest,
        blobPath: path,
      };
      await snapshots.ensure(source, signal);
      await blobs.adopt(path, layer.digest);
    }
    const configDigest = await blobs.put(config);
    const described = {
      id: await blobs.put(manifest),
      names: [],
      manifest,
      config,
      configDigest,
      diffIds,
      layers: parseManifest(manifest).layers,
    };
    return imageRecord(described, snapshots, clock.now());
  });
}

async function toFile(path: string, writeLayer: WriteLayer): Promise<UnpackReport> {
  const file = await open(path, 'wx', 0o600);
  try {
    return await writeLayer(file.fd);
  } finally {
    await file.close();
  }
}

/** Source: moby image/image.go, NewChildImage. */
function newConfig(
  base: Image,
  request: CommitRequest,
  layer: NewLayer | undefined,
  created: string,
): Buffer {
  const { history, rootfs, ...rest } = parseJson('image configuration', base.config, configuration);
  const diffIds = [...(rootfs.diff_ids ?? []), ...(layer ? [layer.diffId] : [])];
  if (diffIds.length > LAYERS_MAX)
    throw new ClusterError('failedPrecondition', `an image cannot have more than ${LAYERS_MAX} layers`);
  const { author, comment, createdBy } = request;
  const config = {
    ...rest,
    ...(author === '' ? {} : { author }),
    config: parseJson('config of the new image', request.config, object),
    created,
    history: [
      ...(history ?? []),
      {
        created,
        ...(author === '' ? {} : { author }),
        created_by: createdBy,
        ...(comment === '' ? {} : { comment }),
        ...(layer ? {} : { empty_layer: true }),
      },
    ],
    rootfs: { ...rootfs, diff_ids: diffIds },
  };
  const bytes = Buffer.from(JSON.stringify(config));
  if (bytes.length > CONFIG_BYTES_MAX)
    throw invalid(`the new image's configuration would have more than ${CONFIG_BYTES_MAX} bytes`);
  return bytes;
}

function newManifest(base: Image, config: Buffer, layer: NewLayer | undefined): Buffer {
  const layers = parseManifest(base.manifest).layers.map(({ mediaType, digest, size }) => ({
    format: formatOf(mediaType),
    digest,
    size,
  }));
  if (layer) layers.push({ format: 'tar+gzip', digest: layer.digest, size: layer.size });
  return makeManifest({ digest: digestOf(config), size: config.length }, layers);
}

/** Docker's media types say `tar.gzip`, OCI's `tar+gzip`. */
function formatOf(mediaType: string): LayerFormat {
  if (/[.+]gzip$/.test(mediaType)) return 'tar+gzip';
  return /[.+]zstd$/.test(mediaType) ? 'tar+zstd' : 'tar';
}
