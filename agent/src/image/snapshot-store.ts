import { mkdir, open, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type UnpackBounds, type UnpackReport, unpackArchive } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { hexOf } from './digest.js';
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
    await this.#slots.use(signal, () =>
      this.parts.scratch.withDirectory('verify', (root) => this.#unpackInto(root, layer, signal)),
    );
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
    return this.parts.scratch.withDirectory('layer', async (path) => {
      const root = join(path, 'fs');
      await mkdir(root, { mode: 0o755 });
      const report = await this.#slots.use(signal, () => this.#unpackInto(root, layer, signal));
      const facts: SnapshotFacts = {
        diffId: layer.diffId,
        blobDigest: layer.blobDigest,
        bytes: report.bytes,
      };
      await writeFile(join(path, 'layer.json'), JSON.stringify(facts));
      await this.parts.sync.run();
      signal.throwIfAborted();
      await rename(path, this.#path(layer.chainId));
      return this.#found(layer.chainId);
    });
  }

  async #unpackInto(root: string, layer: LayerSource, signal: AbortSignal): Promise<UnpackReport> {
    const blob = await open(layer.blobPath, 'r');
    try {
      const request = { mode: 'layer', root, input: blob.fd, bounds: this.parts.bounds } as const;
      const report = await unpackArchive(request, signal).catch((error: unknown) => {
        if (!(error instanceof ClusterError)) throw error;
        throw new ClusterError(error.kind, `layer ${layer.diffId}: ${error.message}`, { cause: error.cause });
      });
      if (report.diffId === layer.diffId) return report;
      throw new ClusterError(
        'invalidArgument',
        `layer ${layer.diffId}: its content has the digest ${report.diffId} instead`,
      );
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
