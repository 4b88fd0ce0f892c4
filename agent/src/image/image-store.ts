import type { HelperInput } from '@tessera/native';
import type { ImageHealthcheck } from '@tessera/shared/healthcheck';
import type { Image } from '@tessera/shared/model';

/** One unpacked layer: a directory that overlayfs takes as a lower one. */
export interface Snapshot {
  /** Digest of the chain of diff ids up to here (OCI image spec, "Layer ChainID"). */
  readonly chainId: string;
  readonly path: string;
  /**
   * A link to the same directory, named by a few digits. All of a store's lie in one directory, so that mount
   * options which must fit a page can name them relative to it: `lowerdir=<basename>:<basename>…` from `dirname`.
   */
  readonly shortPath: string;
}

/** The parts of an OCI image configuration that running it needs. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  /** "80/tcp": what it says it listens on. */
  readonly exposedPorts?: readonly string[];
  /** Undefined where it has none. */
  readonly healthcheck?: ImageHealthcheck;
}

/** An image that is here, whole and unpacked. */
export interface LocalImage {
  /** Manifest digest. */
  readonly id: string;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layers: readonly Snapshot[];
}

/** Where an image comes from when it is not here; the session implements it with LocateImage and the peers. */
export interface ImageFetcher {
  /** The manifest, config and every layer blob of `imageId`, verified by digest, into the store's blobs. */
  fetch(imageId: string, signal: AbortSignal): Promise<Image>;
}

/** Images on this host: blobs by digest, layers unpacked once each. */
export interface ImageStore {
  /**
   * The image, fetched if need be, kept from collection until `release(owner)`.
   * Concurrent calls for one image share the work.
   * @throws ClusterError `notFound` when no node and no registry has it
   */
  ensure(imageId: string, owner: string, signal: AbortSignal): Promise<LocalImage>;
  release(owner: string): Promise<void>;
  /** Reads an archive (docker-archive or OCI layout; plain, gzip or zstd); keeps all its images or none. */
  load(archive: HelperInput, progress: (line: string) => void, signal: AbortSignal): Promise<Image[]>;
  /** Removes the image's content here, unless a task uses it: then once it is released. */
  remove(imageId: string): Promise<void>;
  /** Manifest digests held whole. */
  held(): readonly string[];
  /** Called when `held()` has changed. */
  onChange(listener: () => void): () => void;
  /** A blob's size and content from `offset`, for peers. @throws ClusterError `notFound` */
  readBlob(
    digest: string,
    offset: number,
  ): Promise<{ sizeBytes: number; content: AsyncIterable<Uint8Array> }>;
}
