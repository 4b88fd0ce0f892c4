import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { link, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { digestOf, digestOfHash, hexOf, isDigest } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { type LayerFormat, layerFormat } from './image-manifest.js';
import { IncomingBlob } from './incoming-blob.js';
import type { PartialBlobs } from './partial-blobs.js';
import type { ScratchSpace } from './scratch-space.js';

const PIECE_BYTES = 256 * 1024;
/** So many bytes tell how a layer is compressed. */
const FORMAT_HEAD_BYTES = 6;

/** Content that is whole, in a file of the scratch space. */
export interface ReceivedBlob {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly format: LayerFormat;
}

/** Manifests, configurations and layers, each in a file named by its SHA-256. What is here is whole. */
export class BlobStore {
  constructor(
    private readonly directory: string,
    private readonly scratch: ScratchSpace,
    private readonly partials: PartialBlobs,
  ) {}

  path(digest: string): string {
    if (!isDigest(digest)) throw new ClusterError('invalidArgument', `'${digest}' is not a SHA-256 digest`);
    return join(this.directory, hexOf(digest));
  }

  /** Undefined when it is not here. */
  async size(digest: string): Promise<number | undefined> {
    try {
      return (await stat(this.path(digest))).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** May be repeated. */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    const path = this.scratch.newPath('blob');
    await writeFile(path, bytes, { mode: 0o600 });
    await rename(path, this.path(digest));
    return digest;
  }

  /** Takes in a file of the scratch space whose digest the caller has computed. The file stays where it is. */
  async adopt(path: string, digest: string): Promise<void> {
    try {
      await link(path, this.path(digest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }

  /**
   * Runs `work` with a file of content whose digest nobody knows beforehand. `adopt` keeps it; else it goes.
   * @throws ClusterError `resourceExhausted` when more than `bytesMax` comes
   */
  async withReceived<T>(
    content: AsyncIterable<Uint8Array>,
    bytesMax: number,
    signal: AbortSignal,
    work: (blob: ReceivedBlob) => Promise<T>,
  ): Promise<T> {
    const path = this.scratch.newPath('blob');
    const hash = createHash('sha256');
    let sizeBytes = 0;
    let head: Buffer = Buffer.alloc(0);
    const counted = async function* () {
      for await (const piece of content) {
        sizeBytes += piece.length;
        if (sizeBytes > bytesMax)
          throw new ClusterError('resourceExhausted', `more than ${bytesMax} bytes came`);
        if (head.length < FORMAT_HEAD_BYTES)
          head = Buffer.concat([head, piece.subarray(0, FORMAT_HEAD_BYTES)]);
        hash.update(piece);
        yield piece;
      }
    };
    try {
      await pipeline(counted, createWriteStream(path, { mode: 0o600, flags: 'wx' }), { signal });
      return await work({ path, digest: digestOfHash(hash), sizeBytes, format: layerFormat(head) });
    } finally {
      await rm(path, { force: true });
    }
  }

  /**
   * A blob that arrives piece by piece and is here once `commit` has found its digest right. It goes on where the last
   * attempt stood, also one of an agent before this.
   */
  async receive(digest: string, sizeBytes: number): Promise<IncomingBlob> {
    const target = this.path(digest);
    const kept = this.partials.take(digest);
    const path = kept ?? this.scratch.newPath('blob');
    const release = kept === undefined ? undefined : () => this.partials.giveBack(digest);
    try {
      return await IncomingBlob.open({ path, target, digest, sizeBytes, release });
    } catch (error) {
      release?.();
      throw error;
    }
  }

  /** @throws ClusterError `notFound`, `invalidArgument` for an offset beyond the end */
  async read(digest: string, offset: number) {
    const sizeBytes = await this.size(digest);
    if (sizeBytes === undefined) throw new ClusterError('notFound', `blob ${digest} is not on this node`);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > sizeBytes) {
      throw new ClusterError(
        'invalidArgument',
        `offset ${offset} is outside blob ${digest} of ${sizeBytes} bytes`,
      );
    }
    // Opened now: from here on the content can be read to its end even when the blob is removed meanwhile.
    const file = await open(this.path(digest), 'r');
    const content = file.createReadStream({ start: offset, highWaterMark: PIECE_BYTES });
    return { sizeBytes, content: content as AsyncIterable<Uint8Array> };
  }

  async readAll(digest: string): Promise<Buffer> {
    const { content } = await this.read(digest, 0);
    const pieces: Uint8Array[] = [];
    for await (const piece of content) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async list(): Promise<string[]> {
    return (await readdir(this.directory)).map((name) => `sha256:${name}`).filter(isDigest);
  }

  async delete(digest: string): Promise<void> {
    await rm(this.path(digest), { force: true });
  }
}

/** The digest and size of a file. */
export async function measureFile(path: string, signal: AbortSignal) {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const file = await open(path, 'r');
  try {
    // One for all of it: fresh ones cost more, by the garbage collections they bring about, than the hashing.
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length, sizeBytes);
      if (bytesRead === 0) return { digest: digestOfHash(hash), sizeBytes };
      hash.update(buffer.subarray(0, bytesRead));
      sizeBytes += bytesRead;
    }
  } finally {
    await file.close();
  }
}
