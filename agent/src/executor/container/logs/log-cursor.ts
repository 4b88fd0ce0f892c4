import { type FileHandle, open, readdir } from 'node:fs/promises';

// Reads what a shim writes: <container>/log/<first record, 16 hexadecimal digits>, records one after the other.
// Mirrors native/include/shim.h, struct log_record.
const HEADER = 16;
const MAGIC = 0x4754;
const STDERR = 2;
const PARTIAL = 1;
const GAP = 2;
const OPEN = 4;
const CHUNK = 128 * 1024;
/** A record is at most one piece of 16 KiB; more means that this is no record. */
const LENGTH_MAX = 16_384;

export interface StoredRecord {
  /** Number in the container's log, from 0. */
  readonly number: number;
  readonly stderr: boolean;
  readonly partial: boolean;
  /** The stream ended behind it, without a newline. */
  readonly open: boolean;
  readonly timeNs: bigint;
  readonly line: Buffer;
  /** Records lost before this one: to rotation, or to a full disk. */
  readonly gap: number;
}

/** First records of the segments there are, in order. */
export async function segmentsOf(logDir: string): Promise<number[]> {
  const names = await readdir(logDir).catch(() => [] as string[]);
  return names
    .filter((name) => /^[0-9a-f]{16}$/.test(name))
    .map((name) => Number.parseInt(name, 16))
    .sort((a, b) => a - b);
}

/** A place in a container's log that moves forward. It survives rotation: what was removed unread is a gap. */
export class LogCursor {
  #file: FileHandle | undefined;
  #offset = 0;
  /** First record of the segment being read. */
  #segment: number | undefined;
  /** Number of the next record. */
  #next = 0;
  #lost = 0;
  readonly #chunk = Buffer.allocUnsafe(CHUNK);

  /** @param from a segment to begin at; absent: the oldest there is */
  constructor(
    private readonly logDir: string,
    private readonly from?: number,
  ) {}

  /** The records that are there now, in batches; none when the end has been reached. */
  async read(): Promise<StoredRecord[]> {
    let sealed = false;
    for (;;) {
      if (!this.#file && !(await this.#open())) return [];
      const before = this.#offset;
      const records = await this.#readChunk();
      if (records.length > 0) return records;
      if (this.#offset > before) continue;
      if (sealed) {
        await this.close();
        sealed = false;
      } else {
        // With a later segment there nothing more is written to this one; one last look is due.
        sealed = (await segmentsOf(this.logDir)).some((segment) => segment > this.#segment!);
        if (!sealed) return [];
      }
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #readChunk(): Promise<StoredRecord[]> {
    const { bytesRead } = await this.#file!.read(this.#chunk, 0, CHUNK, this.#offset);
    const bytes = this.#chunk.subarray(0, bytesRead);
    const records: StoredRecord[] = [];
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32LE(at + 4);
      // After a power cut a segment may end in anything; what follows it is in the next one.
      if (bytes.readUInt16LE(at) !== MAGIC || length > LENGTH_MAX) break;
      const end = at + HEADER + length;
      if (end > bytes.length) break;
      this.#take(bytes.subarray(at, end), records);
      at = end;
    }
    this.#offset += at;
    return records;
  }

  #take(bytes: Buffer, records: StoredRecord[]): void {
    const flags = bytes[3]!;
    const number = this.#next++;
    if (flags & GAP) {
      this.#lost += Number(bytes.readBigUInt64LE(HEADER));
      return;
    }
    records.push({
      number,
      stderr: bytes[2] === STDERR,
      partial: (flags & PARTIAL) !== 0,
      open: (flags & OPEN) !== 0,
      timeNs: bytes.readBigUInt64LE(8),
      line: Buffer.from(bytes.subarray(HEADER)),
      gap: this.#lost,
    });
    this.#lost = 0;
  }

  /** Opens the segment after the one read before, or the first one. */
  async #open(): Promise<boolean> {
    for (;;) {
      const after = this.#segment ?? (this.from ?? 0) - 1;
      const first = (await segmentsOf(this.logDir)).find((segment) => segment > after);
      if (first === undefined) return false;
      const path = `${this.logDir}/${first.toString(16).padStart(16, '0')}`;
      this.#file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined; // rotated away since the listing
        throw error;
      });
      if (!this.#file) continue;
      if (this.#segment !== undefined) this.#lost += first - this.#next;
      this.#segment = this.#next = first;
      this.#offset = 0;
      return true;
    }
  }
}
