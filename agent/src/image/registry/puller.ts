import { DEFAULT_UNPACK_BOUNDS } from '@tessera/native';
import { chainIds } from '@tessera/shared/digest';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Platform } from '@tessera/shared/platform';
import type { BlobStore } from '../blob-store.js';
import type { Descriptor } from '../image-manifest.js';
import { imageRecord } from '../image-record.js';
import { allOrNone, SharedWork, Slots } from '../shared-work.js';
import type { LayerSource, SnapshotStore } from '../snapshot-store.js';
import { downloadLayer } from './layer-download.js';
import { bar, type Progress, shortId, step } from './progress.js';
import { type RegistryAccess, type RemoteReference, remoteReference } from './registry-access.js';
import type { RegistryAuth } from './registry-auth.js';
import { describeRemote, type RemoteDescription, type RemoteImage, readRemoteImage } from './remote-image.js';
import { pullError, Repository } from './repository.js';

/** Layers on their way at once on this host, as dockerd's --max-concurrent-downloads. */
const DOWNLOADS_MAX = 3;
/** What no layer's blob may be larger than: the unpacker takes no more either. */
const LAYER_BYTES_MAX = DEFAULT_UNPACK_BOUNDS.bytesMax;

/** Where what is pulled goes. */
export interface ImageIntake {
  readonly blobs: BlobStore;
  readonly snapshots: SnapshotStore;
}

export interface PullRequest {
  /** As a user writes it. */
  readonly reference: string;
  readonly platform: Platform;
  readonly auth: RegistryAuth;
}

/** A layer, and how much of it is here already. */
interface HeldLayer {
  readonly layer: Descriptor;
  readonly source: LayerSource;
  readonly isHere: boolean;
  readonly isUnpacked: boolean;
}

export interface PullerOptions {
  readonly access: RegistryAccess;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Brings images from registries. What arrives is hashed on the way: no registry needs to be trusted with it. */
export class Puller {
  readonly #slots = new Slots(DOWNLOADS_MAX);
  readonly #layers = new SharedWork<void>();

  constructor(private readonly options: PullerOptions) {}

  /**
   * The image with all its layers, unpacked each as soon as it is here. Recording it is the caller's.
   *
   * @throws ClusterError in Docker's words: `notFound`, `unauthenticated`, `unavailable`, `invalidArgument`
   */
  async pull(
    request: PullRequest,
    into: ImageIntake,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Image> {
    return this.#read(request, signal, async (repository, reference) => {
      const { wanted, familiar } = reference;
      const remote = await readRemoteImage(repository, wanted, request.platform, familiar, signal);
      progress({ status: `Pulling from ${reference.repository}`, id: wanted });
      await this.#bringLayers(repository, remote, into, progress, signal);
      await into.blobs.put(remote.manifestBytes);
      await into.blobs.put(remote.configBytes);
      return this.#describe(reference, remote, into);
    });
  }

  /**
   * Layers and nothing else, of an image whose manifest is known already.
   *
   * @param references where it is, tried in their order
   */
  async fetchLayers(
    references: readonly string[],
    auth: RegistryAuth,
    layers: readonly Descriptor[],
    blobs: BlobStore,
    signal: AbortSignal,
  ): Promise<void> {
    let fault: unknown = invalid('no registry is known to have the image');
    for (const reference of references) {
      try {
        return await this.#read({ reference, auth }, signal, async (repository) => {
          await allOrNone(
            signal,
            layers.map((layer) => (both) => this.#download(repository, layer, blobs, () => {}, both)),
          );
        });
      } catch (error) {
        signal.throwIfAborted();
        fault = error;
      }
    }
    throw fault;
  }

  /** The image as the registry describes it, without its layers: its sizes are those of the blobs. */
  async look(request: PullRequest, signal: AbortSignal): Promise<Image> {
    return this.#read(request, signal, async (repository, reference) => {
      const { wanted, familiar } = reference;
      const remote = await readRemoteImage(repository, wanted, request.platform, familiar, signal);
      return this.#describe(reference, remote);
    });
  }

  /** What a name means at its registry now, and for which platforms. */
  describe(reference: string, auth: RegistryAuth, signal: AbortSignal): Promise<RemoteDescription> {
    return this.#read({ reference, auth }, signal, (repository, { wanted, familiar }) =>
      describeRemote(repository, wanted, familiar, signal),
    );
  }

  /** Of a repository, in the registry's order. */
  tags(reference: string, auth: RegistryAuth, signal: AbortSignal): Promise<string[]> {
    return this.#read({ reference, auth }, signal, (repository) => repository.tags(signal));
  }

  #read<T>(
    { reference, auth }: Pick<PullRequest, 'reference' | 'auth'>,
    signal: AbortSignal,
    work: (repository: Repository, reference: RemoteReference) => Promise<T>,
  ): Promise<T> {
    const parsed = remoteReference(reference);
    const { host, repository, familiar, familiarRepository } = parsed;
    return this.options.access.use(host, auth, 'pull', signal, async (session) => {
      try {
        return await work(new Repository(session, repository), parsed);
      } catch (error) {
        throw pullError(error, familiarRepository, familiar);
      }
    });
  }

  async #bringLayers(
    repository: Repository,
    { manifest, config }: RemoteImage,
    into: ImageIntake,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const chain = chainIds(config.diffIds);
    const layers = manifest.layers.map((layer, index) => ({
      layer,
      source: {
        chainId: chain[index]!,
        diffId: config.diffIds[index]!,
        blobDigest: layer.digest,
        blobPath: into.blobs.path(layer.digest),
      },
    }));
    const held = await Promise.all(
      layers.map(async ({ layer, source }) => {
        const isHere = (await into.blobs.size(layer.digest)) === layer.size;
        return {
          layer,
          source,
          isHere,
          isUnpacked: isHere && into.snapshots.get(source.chainId) !== undefined,
        };
      }),
    );
    // As dockerd: of an image that is up to date, no layer is spoken of.
    const say = held.every(({ isUnpacked }) => isUnpacked) ? () => {} : progress;
    for (const { layer, isUnpacked } of held)
      say(step(shortId(layer.digest), isUnpacked ? 'Already exists' : 'Pulling fs layer'));
    await allOrNone(
      signal,
      held.map((each) => (both) => this.#bringLayer(repository, each, into, say, both)),
    );
  }

  async #bringLayer(
    repository: Repository,
    { layer, source, isHere, isUnpacked }: HeldLayer,
    { blobs, snapshots }: ImageIntake,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const id = shortId(layer.digest);
    if (!isHere) await this.#download(repository, layer, blobs, progress, signal);
    if (!isUnpacked) progress(bar(id, 'Extracting', 0, layer.size));
    await snapshots.ensure(source, signal);
    await this.#verify(source, snapshots, signal);
    if (!isUnpacked) progress(step(id, 'Pull complete'));
  }

  /** A layer that was unpacked from another blob has been taken by its diff id: ours may still differ. */
  async #verify(source: LayerSource, snapshots: SnapshotStore, signal: AbortSignal): Promise<void> {
    const { blobDigest } = await snapshots.facts(source.chainId);
    if (source.blobDigest === blobDigest || source.blobDigest === source.diffId) return;
    await snapshots.verify(source, signal);
  }

  /** Two images that share a layer share its way here. */
  async #download(
    repository: Repository,
    layer: Descriptor,
    blobs: BlobStore,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    if (layer.size > LAYER_BYTES_MAX)
      throw invalid(`layer ${layer.digest} is larger than ${LAYER_BYTES_MAX} bytes`);
    return this.#layers.run(layer.digest, signal, async () => {
      if (this.#slots.isFull) progress(step(shortId(layer.digest), 'Waiting'));
      await this.#slots.use(signal, async () => {
        if ((await blobs.size(layer.digest)) === layer.size) return;
        await downloadLayer(repository, layer, blobs, progress, this.options, signal);
      });
    });
  }

  #describe(reference: RemoteReference, remote: RemoteImage, into?: ImageIntake): Promise<Image> {
    const { manifest } = remote;
    const described = {
      id: remote.manifestDigest,
      names: reference.name ? [reference.name] : [],
      manifest: remote.manifestBytes,
      config: remote.configBytes,
      configDigest: manifest.config.digest,
      diffIds: remote.config.diffIds,
      layers: manifest.layers,
      repoDigests: [`${reference.host}/${reference.repository}@${remote.digest}`],
    };
    return imageRecord(described, into?.snapshots, this.options.clock.now());
  }
}
