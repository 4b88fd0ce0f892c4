import { createHash } from 'node:crypto';
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { readBytesIfAny } from './read-file.js';

/** One change, as it lies in the file. What a kind's number means is its owner's. */
export interface JournalRecord {
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** Length of payload (4 bytes), kind (1 byte), and the first 4 bytes of the SHA-256 of kind and payload. */
const HEADER_BYTES = 9;
/** Is told what kept a journal from being written. */
export type OnFault = (error: unknown) => void;

/** A rewrite costs one pass over what lives; below this size it is not worth it. */
const COMPACT_FLOOR_BYTES = 1 << 20;

/**
 * An append-only file of records: one small write per change, so that 200 tasks coming up together cost 200 appends
 * and no rewrite. A torn tail, from a death in the middle of a write, is cut off at the next start.
 *
 * Writes reach the kernel before a call returns, so they survive `kill -9`. They are not synced unless asked: after
 * a power cut the newest may be missing.
 *
 * A disk that is full ends nothing: what cannot be written is missing after a death, and comes with the first append
 * that finds room. Only who asks for `sync` has to know.
 */
export class Journal {
  #file: number;
  #sizeBytes = 0;
  #liveBytes = 0;
  /** A write has failed since the file was last whole. */
  #isBehind = false;

  /**
   * Reads the file, if there is one, then writes it anew without what is dead.
   *
   * @param apply takes each record of the file, oldest first
   * @param live what a new file begins with; it counts what is just being appended
   * @param onFault called when the file falls behind, once until it has caught up
   */
  constructor(
    private readonly path: string,
    apply: (record: JournalRecord) => void,
    private readonly live: () => readonly JournalRecord[],
    private readonly onFault: OnFault = () => undefined,
  ) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const content = readBytesIfAny(path);
    let wholeBytes = 0;
    for (const { record, endsAt } of content ? decode(content) : []) {
      apply(record);
      wholeBytes = endsAt;
    }
    try {
      this.#file = this.#rewrite();
    } catch (error) {
      if (!content) throw error;
      onFault(error);
      this.#file = this.#goOn(wholeBytes);
    }
  }

  append(records: readonly JournalRecord[]): void {
    if (records.length === 0) return;
    try {
      if (this.#isBehind) this.#renew();
      else this.#write(Buffer.concat(records.map(encode)));
    } catch (error) {
      if (!this.#isBehind) this.onFault(error);
      this.#isBehind = true;
    }
  }

  /** What has been appended survives a power cut once this returns. Throws what keeps it from being written. */
  sync(): void {
    if (this.#isBehind) this.#renew();
    fdatasyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(bytes: Buffer): void {
    try {
      writeFully(this.#file, bytes, this.#sizeBytes);
    } catch (error) {
      // Whatever follows half a record would be lost with it.
      ftruncateSync(this.#file, this.#sizeBytes);
      throw error;
    }
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes >= Math.max(COMPACT_FLOOR_BYTES, 4 * this.#liveBytes)) this.#compact();
  }

  #compact(): void {
    try {
      this.#renew();
    } catch {
      // Nothing is missing from the file as it is; it is tried again when this one has become four times as long.
      this.#liveBytes = this.#sizeBytes;
    }
  }

  #renew(): void {
    const before = this.#file;
    this.#file = this.#rewrite();
    closeSync(before);
    this.#isBehind = false;
  }

  /** Writes what lives to a new file and puts it in the old one's place. Returns its descriptor. */
  #rewrite(): number {
    const content = Buffer.concat(this.live().map(encode));
    const temporary = `${this.path}.tmp`;
    const file = openSync(temporary, 'w', 0o600);
    try {
      writeFully(file, content, 0);
      // Before the rename, or a power cut could leave an empty file under the name of the full one.
      fsyncSync(file);
      renameSync(temporary, this.path);
    } catch (error) {
      closeSync(file);
      rmSync(temporary, { force: true });
      throw error;
    }
    this.#sizeBytes = content.length;
    this.#liveBytes = content.length;
    return file;
  }

  /** Takes the file as it is, without its torn tail. Returns its descriptor. */
  #goOn(wholeBytes: number): number {
    const file = openSync(this.path, 'r+');
    ftruncateSync(file, wholeBytes);
    this.#sizeBytes = wholeBytes;
    this.#liveBytes = wholeBytes;
    return file;
  }
}

function encode({ kind, payload }: JournalRecord): Buffer {
  const record = Buffer.alloc(HEADER_BYTES + payload.length);
  record.writeUInt32LE(payload.length, 0);
  record[4] = kind;
  record.set(payload, HEADER_BYTES);
  checksum(kind, record.subarray(HEADER_BYTES)).copy(record, 5);
  return record;
}

/** Records up to the first that is torn or damaged. */
function* decode(content: Buffer): Generator<{ readonly record: JournalRecord; readonly endsAt: number }> {
  let offset = 0;
  while (offset + HEADER_BYTES <= content.length) {
    const length = content.readUInt32LE(offset);
    const kind = content[offset + 4]!;
    const end = offset + HEADER_BYTES + length;
    if (end > content.length) return;
    const payload = content.subarray(offset + HEADER_BYTES, end);
    if (!checksum(kind, payload).equals(content.subarray(offset + 5, offset + HEADER_BYTES))) return;
    yield { record: { kind, payload }, endsAt: end };
    offset = end;
  }
}

const checksum = (kind: number, payload: Uint8Array): Buffer =>
  createHash('sha256').update(Uint8Array.of(kind)).update(payload).digest().subarray(0, 4);

/** write(2) may write less than asked, on a full disk for example. */
function writeFully(file: number, content: Buffer, position: number): void {
  for (let offset = 0; offset < content.length; )
    offset += writeSync(file, content, offset, content.length - offset, position + offset);
}
