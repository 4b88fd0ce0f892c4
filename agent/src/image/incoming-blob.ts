import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { digestOfHash } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { PARTIAL_BYTES_MIN } from './partial-blobs.js';

const PIECE_BYTES = 256 * 1024;

interface Place {
  /** Where its bytes gather. */
  readonly path: string;
  /** Where it is once it is whole. */
  readonly target: string;
  readonly digest: string;
  readonly sizeBytes: number;
  /** Gives the gathering place back; undefined: it is of this attempt alone, and goes with it. */
  readonly release: (() => void) | undefined;
}

/** One blob on its way in. Ends by `commit`, or by `discard`, which does nothing after a commit. */
export class IncomingBlob {
  #hash = createHash('sha256');
  #offset = 0;
  #ended = false;

  private constructor(
    private readonly file: FileHandle,
    private readonly at: Place,
  ) {}

  /** Takes up what lies in its place already. */
  static async open(at: Place): Promise<IncomingBlob> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const blob = new IncomingBlob(await open(at.path, flags, 0o600), at);
    try {
      await blob.#takeUp();
    } catch (error) {
      await blob.file.close();
      throw error;
    }
    return blob;
  }

  /** How many bytes are here: where a next source goes on. */
  get offset(): number {
    return this.#offset;
  }

  /** @throws ClusterError `failedPrecondition` when more comes than the blob has */
  async append(piece: Uint8Array): Promise<void> {
    if (this.#offset + piece.length > this.at.sizeBytes) {
      throw new ClusterError(
        'failedPrecondition',
        `blob ${this.at.digest}: more than ${this.at.sizeBytes} bytes came`,
      );
    }
    for (let at = 0; at < piece.length; ) {
      at += (await this.file.write(piece, at, piece.length - at, this.#offset + at)).bytesWritten;
    }
    this.#hash.update(piece);
    this.#offset += piece.length;
  }

  /** @throws ClusterError `failedPrecondition` when size or digest is wrong; it is then empty again */
  async commit(): Promise<void> {
    const found = digestOfHash(this.#hash.copy());
    if (this.#offset !== this.at.sizeBytes || found !== this.at.digest) {
      const offset = this.#offset;
      await this.restart();
      throw new ClusterError(
        'failedPrecondition',
        `blob ${this.at.digest}: ${offset} of ${this.at.sizeBytes} bytes with digest ${found} came`,
      );
    }
    this.#ended = true;
    await this.file.close();
    await rename(this.at.path, this.at.target);
    this.at.release?.();
  }

  /** Ends it. What has come is kept for the next attempt, where that may go on. */
  async discard(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.file.close();
    const isKept = this.at.release !== undefined && this.#offset >= PARTIAL_BYTES_MIN;
    if (!isKept) await rm(this.at.path, { force: true });
    this.at.release?.();
  }

  /** Forgets what has come. */
  async restart(): Promise<void> {
    await this.file.truncate(0);
    this.#hash = createHash('sha256');
    this.#offset = 0;
  }

  /** Reads what is here: the digest is of all of it. */
  async #takeUp(): Promise<void> {
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await this.file.read(buffer, 0, buffer.length, this.#offset);
      if (bytesRead === 0) return;
      if (this.#offset + bytesRead > this.at.sizeBytes) return this.restart();
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#offset += bytesRead;
    }
  }
}
