import { ClusterError } from '@tessera/shared/errors';
import type { OutputPiece } from '../../attachment.js';
import { LogCursor, type StoredRecord, segmentsOf } from './log-cursor.js';

/** From where on a log is read, and what of each stream from there on is known already, in bytes. */
export interface LogPlace {
  readonly record: number;
  readonly given: { readonly stdout: number; readonly stderr: number };
}

/** What a container wrote, as its log has it: the bytes themselves, lines with their ends. Moves forward only. */
export class LogOutput {
  #cursor: LogCursor | undefined;
  /** Read, and behind where the last reading was to end. */
  #ahead: StoredRecord[] = [];
  readonly #skip: { stdout: number; stderr: number };

  /** @param from absent: the oldest record there is, wherever the log begins by now */
  constructor(
    private readonly logDir: string,
    private readonly from?: LogPlace,
  ) {
    this.#skip = { stdout: from?.given.stdout ?? 0, stderr: from?.given.stderr ?? 0 };
  }

  /**
   * @param until a record to stop before; absent: the end of what is there
   * @throws ClusterError `resourceExhausted` when what is to come next is in the log no more
   */
  async *read(until = Number.POSITIVE_INFINITY): AsyncGenerator<OutputPiece> {
    this.#cursor ??= new LogCursor(this.logDir, await this.#firstSegment());
    for (;;) {
      const batch = this.#ahead.length > 0 ? this.#ahead : await this.#cursor.read();
      const end = batch.findIndex(({ number }) => number >= until);
      const due = end < 0 ? batch : batch.slice(0, end);
      this.#ahead = end < 0 ? [] : batch.slice(end);
      for (const piece of joined(due.map((record) => this.#piece(record)))) yield* this.fresh(piece);
      if (end >= 0 || batch.length === 0) return;
    }
  }

  /** Without what is known already. */
  *fresh(piece: OutputPiece): Generator<OutputPiece> {
    const known = Math.min(this.#skip[piece.stream], piece.bytes.length);
    this.#skip[piece.stream] -= known;
    if (known < piece.bytes.length) yield { ...piece, bytes: piece.bytes.subarray(known) };
  }

  async close(): Promise<void> {
    await this.#cursor?.close();
  }

  async #firstSegment(): Promise<number | undefined> {
    if (!this.from) return undefined;
    const { record } = this.from;
    const segment = (await segmentsOf(this.logDir)).filter((first) => first <= record).at(-1);
    // None yet: then the first that there will be is the one.
    if (segment === undefined && record > 0) throw rotatedAway();
    return segment;
  }

  #piece({ number, stderr, partial, open, line, gap }: StoredRecord): OutputPiece {
    const stream = stderr ? 'stderr' : 'stdout';
    if (this.from && number < this.from.record) return { stream, bytes: Buffer.alloc(0) };
    if (this.from && gap > 0) throw rotatedAway();
    return { stream, bytes: partial || (open && this.from) ? line : Buffer.concat([line, NEWLINE]) };
  }
}

/** Neighbours of one stream made one. */
function* joined(pieces: readonly OutputPiece[]): Generator<OutputPiece> {
  let from = 0;
  for (let at = 1; at <= pieces.length; at++) {
    const { stream } = pieces[from]!;
    if (at < pieces.length && pieces[at]!.stream === stream) continue;
    yield { stream, bytes: Buffer.concat(pieces.slice(from, at).map(({ bytes }) => bytes)) };
    from = at;
  }
}

const rotatedAway = () =>
  new ClusterError(
    'resourceExhausted',
    'the output was not read fast enough: the log has lost what was to come next',
  );

const NEWLINE = Buffer.from('\n');
