import { digestOf } from '@tessera/shared/digest';
import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { BlobStore } from '../blob-store.js';
import { parseConfig } from '../image-config.js';
import { type Descriptor, MEDIA_TYPES, parseManifest } from '../image-manifest.js';
import { allOrNone, Slots } from '../shared-work.js';
import { RepositoryWriter } from './blob-upload.js';
import { type Progress, shortId, step, throttledBar } from './progress.js';
import { type RegistryAccess, remoteReference } from './registry-access.js';
import type { RegistryAuth } from './registry-auth.js';
import { RegistryError } from './registry-errors.js';

/** As dockerd's --max-concurrent-uploads. */
const UPLOADS_MAX = 5;

export interface PushRequest {
  readonly image: Image;
  /** Normalised, with tag. */
  readonly name: string;
  readonly auth: RegistryAuth;
  /** By layer digest: a repository of the same registry that may have it. */
  readonly mounts: ReadonlyMap<string, string>;
}

type PushedLayer = Descriptor & { readonly id: string };

export interface PusherOptions {
  readonly access: RegistryAccess;
  readonly clock: Clock;
  readonly random: Random;
}

/** Gives images to registries, byte for byte as they lie here: the digest stays what it is. */
export class Pusher {
  readonly #slots = new Slots(UPLOADS_MAX);

  constructor(private readonly options: PusherOptions) {}

  /**
   * @returns the digest it has there
   * @throws ClusterError in the registry's words
   */
  async push(
    { image, name, auth, mounts }: PushRequest,
    blobs: BlobStore,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<string> {
    const { host, repository, wanted: tag, familiarRepository } = remoteReference(name);
    const manifest = parseManifest(image.manifest);
    progress({ status: `The push refers to repository [${host}/${repository}]` });
    // Shown by what they are unpacked, as docker does: the same layer may be compressed in several ways.
    const { diffIds } = parseConfig(image.config);
    const layers: PushedLayer[] = [
      ...new Map(
        manifest.layers.map((layer, index) => [
          layer.digest,
          { ...layer, id: shortId(diffIds[index] ?? layer.digest) },
        ]),
      ).values(),
    ];
    for (const { id } of [...layers].reverse()) progress(step(id, 'Preparing'));
    try {
      await this.options.access.use(host, auth, 'push', signal, async (session) => {
        const writer = new RepositoryWriter(
          session,
          repository,
          layers.flatMap(({ digest }) => mounts.get(digest) ?? []),
        );
        await allOrNone(
          signal,
          layers.map((layer) => (both) => this.#layer(writer, layer, mounts, blobs, progress, both)),
        );
        await this.#blob(
          writer,
          manifest.config,
          undefined,
          blobs,
          () => {},
          () => {},
          signal,
        );
        await writer.putManifest(tag, mediaTypeOf(image), Buffer.from(image.manifest), signal);
      });
    } catch (error) {
      throw pushError(error, familiarRepository);
    }
    const digest = digestOf(image.manifest);
    const size = image.manifest.length;
    progress({ status: `${tag}: digest: ${digest} size: ${size}` });
    progress({ status: '', progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: size } });
    return digest;
  }

  async #layer(
    writer: RepositoryWriter,
    layer: PushedLayer,
    mounts: ReadonlyMap<string, string>,
    blobs: BlobStore,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = layer;
    const mountFrom = mounts.get(layer.digest);
    const show = throttledBar(progress, id, 'Pushing', layer.size);
    const waiting = (seconds: number) =>
      progress(step(id, `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}`));
    await this.#slots.use(signal, async () => {
      const outcome = await this.#blob(writer, layer, mountFrom, blobs, show, waiting, signal);
      const said = {
        exists: 'Layer already exists',
        mounted: `Mounted from ${mountFrom}`,
        pushed: 'Pushed',
      };
      progress(step(id, said[outcome]));
    });
  }

  #blob(
    writer: RepositoryWriter,
    blob: Descriptor,
    mountFrom: string | undefined,
    blobs: BlobStore,
    sent: (bytes: number) => void,
    waiting: (seconds: number) => void,
    signal: AbortSignal,
  ) {
    const { clock, random } = this.options;
    return writer.ensureBlob(blob, { blobs, retry: { clock, random, waiting }, mountFrom, sent }, signal);
  }
}

function mediaTypeOf(image: Image): string {
  const { mediaType, config } = JSON.parse(Buffer.from(image.manifest).toString('utf8')) as {
    mediaType?: string;
    config?: { mediaType?: string };
  };
  if (mediaType) return mediaType;
  const isDocker = config?.mediaType?.startsWith('application/vnd.docker.') ?? false;
  return isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
}

/** In Docker's words: what the registry says of access, without the request it said it to. */
function pushError(error: unknown, familiarRepository: string): unknown {
  if (error instanceof RegistryError && error.code === 'NAME_UNKNOWN')
    return new ClusterError('notFound', `repository ${familiarRepository} not found: ${error.message}`);
  if (error instanceof ClusterError && error.kind === 'unauthenticated')
    return new ClusterError('unauthenticated', error.message.replace(/^\w+ "[^"]*": /, ''));
  return error;
}
