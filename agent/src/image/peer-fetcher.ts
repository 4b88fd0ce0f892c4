import { digestOf } from '@tessera/shared/digest';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError, errorText, fromServiceError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { ImageSource, LocateImageResponse, PeerClient } from '@tessera/shared/wire';
import type { BlobStore } from './blob-store.js';
import { parseConfig } from './image-config.js';
import { type Descriptor, parseManifest } from './image-manifest.js';
import type { ImageFetcher } from './image-store.js';
import type { IncomingBlob } from './incoming-blob.js';
import { allOrNone, Slots } from './shared-work.js';

/** Layers fetched at once. More would only share one link. */
const DOWNLOADS_MAX = 3;
/** How often the manager is asked anew where the image is, once every node it named has failed. */
const ROUNDS_MAX = 3;
/** A peer that sends nothing for so long is given up for the next one. */
const SILENCE_MAX_MS = 10_000;

export interface PeerFetcherOptions {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Asks a manager; the sources are nodes that hold the image. */
  readonly locate: (imageId: string, signal: AbortSignal) => Promise<LocateImageResponse>;
  /** A client of that node's peer server. The fetcher closes it. */
  readonly openPeer: (source: ImageSource) => PeerClient;
  /** Brings layers from where a registry has the image, when no node gives them. */
  readonly fromRegistry?: RegistryLayers;
}

/** @param auth as Docker's X-Registry-Auth has it; empty: none */
export type RegistryLayers = (
  image: Image,
  layers: readonly Descriptor[],
  auth: string,
  signal: AbortSignal,
) => Promise<void>;

/**
 * Fetches images from agents that hold them. A layer that breaks off goes on from where it stood with the next
 * node; what arrives is hashed on the way, so that no node needs to be trusted.
 */
export class PeerImageFetcher implements ImageFetcher {
  readonly #logger: Logger;

  constructor(private readonly options: PeerFetcherOptions) {
    this.#logger = options.logger.child({ module: 'image.peer' });
  }

  async fetch(imageId: string, signal: AbortSignal): Promise<Image> {
    const peers = new Peers(this.options, imageId);
    try {
      const image = verifyImage(imageId, await peers.locate(signal));
      const { layers } = parseManifest(image.manifest);
      const { blobs } = this.options;
      // A layer may occur twice.
      const missing = [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
      await this.#layers(peers, image, missing, signal);
      await blobs.put(image.manifest);
      await blobs.put(image.config);
      return image;
    } finally {
      peers.close();
    }
  }

  /** From nodes that have them, since they are near; else from the registry. */
  async #layers(
    peers: Peers,
    image: Image,
    layers: readonly Descriptor[],
    signal: AbortSignal,
  ): Promise<void> {
    const fromRegistry = image.repoDigests.length > 0 ? this.options.fromRegistry : undefined;
    if (fromRegistry && peers.sources().length === 0)
      return fromRegistry(image, layers, peers.registryAuth, signal);
    const slots = new Slots(DOWNLOADS_MAX);
    try {
      await allOrNone(
        signal,
        layers.map((layer) => (both) => slots.use(both, () => this.#layer(peers, layer, both))),
      );
    } catch (error) {
      signal.throwIfAborted();
      if (!fromRegistry) throw error;
      this.#logger.warn(
        { error, 'image.id': image.id },
        'no node gives the whole image; asking its registry',
      );
      await fromRegistry(image, layers, peers.registryAuth, signal);
    }
  }

  async #layer(peers: Peers, layer: Descriptor, signal: AbortSignal): Promise<void> {
    const { blobs } = this.options;
    if ((await blobs.size(layer.digest)) === layer.size) return;
    const incoming = await blobs.receive(layer.digest, layer.size);
    let fault: unknown;
    try {
      for (let round = 1; round <= ROUNDS_MAX; round++) {
        if (round > 1) await peers.locate(signal);
        for (const source of peers.sources()) {
          try {
            await this.#stream(peers, source, incoming, layer, signal);
            return await incoming.commit();
          } catch (error) {
            signal.throwIfAborted();
            fault = error;
            this.#logger.warn(
              { error, 'node.id': source.nodeId, blob: layer.digest },
              'fetching a layer failed; trying the next node',
            );
          }
        }
      }
    } finally {
      await incoming.discard();
    }
    throw new ClusterError(
      'unavailable',
      `image ${peers.imageId}: layer ${layer.digest} could not be fetched: ${fault ? errorText(fault) : 'no node holds it'}`,
    );
  }

  async #stream(
    peers: Peers,
    source: ImageSource,
    incoming: IncomingBlob,
    { digest, size }: Descriptor,
    signal: AbortSignal,
  ): Promise<void> {
    const { imageId, token } = peers;
    const call = peers.client(source).getBlob({ imageId, digest, token, offset: incoming.offset });
    let isSilent = false;
    const cancel = () => call.cancel();
    const giveUp = () => {
      isSilent = true;
      call.cancel();
    };
    signal.addEventListener('abort', cancel, { once: true });
    let stopWaiting = this.options.clock.after(SILENCE_MAX_MS, giveUp);
    try {
      for await (const chunk of call as AsyncIterable<{ data: Buffer; totalBytes: number }>) {
        stopWaiting();
        await incoming.append(chunk.data);
        stopWaiting = this.options.clock.after(SILENCE_MAX_MS, giveUp);
      }
      if (incoming.offset !== size) throw new ClusterError('unavailable', 'the stream ended early');
    } catch (error) {
      if (isSilent) throw new ClusterError('unavailable', `node ${source.nodeId} sends nothing`);
      throw fromServiceError(error);
    } finally {
      stopWaiting();
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }
}

/** Where one image is, and the connections to those nodes. */
class Peers {
  readonly #clients = new Map<string, PeerClient>();
  #located: LocateImageResponse | undefined;

  constructor(
    private readonly options: PeerFetcherOptions,
    readonly imageId: string,
  ) {}

  get token(): string {
    return this.#located?.token ?? '';
  }

  get registryAuth(): string {
    return this.#located?.registryAuth ?? '';
  }

  async locate(signal: AbortSignal): Promise<LocateImageResponse> {
    this.#located = await this.options.locate(this.imageId, signal);
    return this.#located;
  }

  /** In another order each time, so that many askers spread over the holders. */
  sources(): ImageSource[] {
    const sources = [...(this.#located?.sources ?? [])];
    const first = Math.floor(this.options.random.next() * sources.length);
    return [...sources.slice(first), ...sources.slice(0, first)];
  }

  client(source: ImageSource): PeerClient {
    const known = this.#clients.get(source.peerAddr);
    if (known) return known;
    const client = this.options.openPeer(source);
    this.#clients.set(source.peerAddr, client);
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}

/** The image the manager told of, once everything in it agrees with its digest. */
function verifyImage(imageId: string, { image }: LocateImageResponse): Image {
  if (!image) throw new ClusterError('notFound', `image ${imageId} is unknown to the cluster`);
  const manifest = parseManifest(image.manifest);
  const { diffIds } = parseConfig(image.config);
  const layers = manifest.layers.map(({ digest }) => digest);
  const agrees =
    image.id === imageId &&
    digestOf(image.manifest) === imageId &&
    image.configDigest === manifest.config.digest &&
    digestOf(image.config) === manifest.config.digest &&
    diffIds.length === layers.length &&
    layers.join() === image.layerDigests.join();
  if (!agrees)
    throw new ClusterError('internal', `image ${imageId}: what the manager says of it does not agree`);
  return image;
}
