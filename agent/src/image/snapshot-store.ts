import { mkdir, open, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type UnpackBounds, type UnpackReport, unpackArchive } from '@tessera/native';
import { hexOf } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import type { Snapshot } from './image-store.js';
import type { ScratchSpace } from './scratch-space.js';
import { allOrNone, type GroupCommit, SharedWork, Slots } from './shared-work.js';

/** Unpacking is decompression: more at once than cores only takes them from the containers. */
const UNPACKERS_MAX = 2;
/** Digits of a chain id in a short link: 127 of them and as many colons take 1,651 of overlay's 4,095 bytes. */
const SHORT_DIGITS = 12;

/** A layer, and where its bytes lie. */
export interface LayerSource {
  readonly chainId: string;
  readonly diffId: string;
  readonly blobDigest: string;
  readonly blobPath: string;
}

/** What is known of an unpacked layer beside its files. */
export interface SnapshotFacts {
  readonly diffId: string;
  /** The blob it was unpacked from. */
  readonly blobDigest: string;
  /** What its files hold together. */
  readonly bytes: number;
}

/**
 * Layers unpacked, one directory for each chain id: `<hex>/fs` are its files, `<hex>/layer.json` the facts.
 * A directory appears by a rename, after its files have reached the disk: what is here is whole.
 */
export class SnapshotStore {
  readonly #unpacking = new SharedWork<Snapshot>();
  readonly #slots = new Slots(UNPACKERS_MAX);
  readonly #known = new Map<string, Snapshot>();

  constructor(
    private readonly parts: {
      readonly directory: string;
      /** Where the short links lie. */
      readonly linkDirectory: string;
      readonly scratch: ScratchSpace;
      readonly sync: GroupCommit;
      readonly bounds: UnpackBounds;
    },
  ) {}

  /** Finds what is here and mends the links. Before anything else. */
  async open(): Promise<void> {
    const { directory, linkDirectory } = this.parts;
    const names = await readdir(directory);
    const found = await Promise.all(names.map((name) => this.#found(`sha256:${name}`)));
    const wanted = new Set(found.map(({ shortPath }) => basename(shortPath)));
    const links = await readdir(linkDirectory);
    await Promise.all(links.filter((name) => !wanted.has(name)).map((name) => rm(join(linkDirectory, name))));
  }

  get(chainId: string): Snapshot | undefined {
    return this.#known.get(chainId);
  }

  list(): string[] {
    return [...this.#known.keys()];
  }

  async facts(chainId: string): Promise<SnapshotFacts> {
    const text = await readFile(join(this.#path(chainId), 'layer.json'), 'utf8');
    return JSON.parse(text) as SnapshotFacts;
  }

  /**
   * The layer, unpacked if it is not here yet. Callers that want one layer at the same time share the work.
   * @throws ClusterError `invalidArgument` for a bad layer or one whose diff id is not the one it should have
   */
  async ensure(layer: LayerSource, signal: AbortSignal): Promise<Snapshot> {
    return (
      this.#known.get(layer.chainId) ??
      (await this.#unpacking.run(layer.chainId, signal, () => this.#unpack(layer, signal)))
    );
  }

  /** All of an image's layers, in their order. */
  ensureAll(layers: readonly LayerSource[], signal: AbortSignal): Promise<Snapshot[]> {
    return allOrNone(
      signal,
      layers.map((layer) => (both) => this.ensure(layer, both)),
    );
  }

  /** Unpacks the layer only to see that its diff id is right. */
  async verify(layer: LayerSource, signal: AbortSignal): Promise<void> {
    await this.#unpackBlob(layer, signal, async (_, { diffId }) => {
      if (diffId !== layer.diffId) throw wrongDiffId(layer, diffId);
    });
  }

  /**
   * Unpacks a bottom layer that nobody has described: what it holds says what its diff id is.
   * @returns its diff id, which is its chain id as well
   */
  async register(
    { path: blobPath, digest: blobDigest }: { readonly path: string; readonly digest: string },
    signal: AbortSignal,
  ): Promise<string> {
    return this.#unpackBlob({ blobPath }, signal, async (path, { diffId, bytes }) => {
      await this.#unpacking.run(
        diffId,
        signal,
        async () => this.#known.get(diffId) ?? this.#place(path, diffId, { diffId, blobDigest, bytes }),
      );
      return diffId;
    });
  }

  /** Nothing may have it mounted. May be repeated. */
  async delete(chainId: string): Promise<void> {
    const snapshot = this.#known.get(chainId);
    this.#known.delete(chainId);
    if (snapshot) await rm(snapshot.shortPath, { force: true });
    // Out of sight at once: a crash in the middle must not leave half a layer where a whole one is looked for.
    const doomed = this.parts.scratch.newPath('removed');
    try {
      await rename(this.#path(chainId), doomed);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(doomed, { recursive: true, force: true, maxRetries: 5 });
  }

  async #unpack(layer: LayerSource, signal: AbortSignal): Promise<Snapshot> {
    return this.#unpackBlob(layer, signal, async (path, { diffId, bytes }) => {
      if (diffId !== layer.diffId) throw wrongDiffId(layer, diffId);
      return this.#place(path, layer.chainId, { diffId, blobDigest: layer.blobDigest, bytes });
    });
  }

  /** Unpacks into a directory that is gone afterwards, unless `keep` has moved it to its place. */
  #unpackBlob<T>(
    blob: Pick<LayerSource, 'blobPath'> & { readonly diffId?: string },
    signal: AbortSignal,
    keep: (path: string, report: UnpackReport) => Promise<T>,
  ): Promise<T> {
    return this.parts.scratch.withDirectory('layer', async (path) => {
      const root = join(path, 'fs');
      await mkdir(root, { mode: 0o755 });
      const report = await this.#slots.use(signal, () => this.#unpackInto(root, blob, signal));
      signal.throwIfAborted();
      return keep(path, report);
    });
  }

  async #place(path: string, chainId: string, facts: SnapshotFacts): Promise<Snapshot> {
    await writeFile(join(path, 'layer.json'), JSON.stringify(facts));
    await this.parts.sync.run();
    await rename(path, this.#path(chainId));
    return this.#found(chainId);
  }

  async #unpackInto(
    root: string,
    { blobPath, diffId }: Pick<LayerSource, 'blobPath'> & { readonly diffId?: string },
    signal: AbortSignal,
  ): Promise<UnpackReport> {
    const blob = await open(blobPath, 'r');
    try {
      const request = { mode: 'layer', root, input: blob.fd, bounds: this.parts.bounds } as const;
      return await unpackArchive(request, signal).catch((error: unknown) => {
        if (!(error instanceof ClusterError) || diffId === undefined) throw error;
        throw new ClusterError(error.kind, `layer ${diffId}: ${error.message}`, { cause: error.cause });
      });
    } finally {
      await blob.close();
    }
  }

  async #found(chainId: string): Promise<Snapshot> {
    const path = join(this.#path(chainId), 'fs');
    const target = `../${basename(this.parts.directory)}/${hexOf(chainId)}/fs`;
    const snapshot: Snapshot = { chainId, path, shortPath: await this.#link(hexOf(chainId), target) };
    this.#known.set(chainId, snapshot);
    return snapshot;
  }

  /** The shortest prefix, from twelve digits on, that no other layer has. */
  async #link(hex: string, target: string): Promise<string> {
    for (let length = SHORT_DIGITS; ; length++) {
      const path = join(this.parts.linkDirectory, hex.slice(0, length));
      try {
        await symlink(target, path);
        return path;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        if ((await readlink(path)) === target) return path;
      }
    }
  }

  #path(chainId: string): string {
    return join(this.parts.directory, hexOf(chainId));
  }
}

const wrongDiffId = ({ diffId }: LayerSource, found: string) =>
  new ClusterError('invalidArgument', `layer ${diffId}: its content has the digest ${found} instead`);
