import { closeSync } from 'node:fs';
import { ClusterError } from '@tessera/shared/errors';
import { connectShim } from './container-calls.js';
import {
  ATTACH,
  EXEC_OWN,
  FRAME_PAYLOAD_MAX,
  FRAMES,
  type Frame,
  PATIENCE_SHIFT,
  PATIENCE_UNIT_MS,
  STDIN_WINDOW,
} from './frames.js';
import { lost, ShimConnection, shimError } from './shim-connection.js';
import {
  decodeExecExit,
  decodeExit,
  decodeFailure,
  type ExecExit,
  type ShimFailure,
  timeMs,
} from './shim-events.js';

export interface AttachOptions {
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  /** Output waits for this reader, as it would in a pipe; else a slow one is detached. */
  readonly wait?: boolean;
  /** With `wait`: how long it may take nothing at all before the process goes on without it; absent: for ever. */
  readonly patienceMs?: number;
  /** Begin with what the log does not have yet of an unfinished line. */
  readonly line?: boolean;
}

export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Buffer;
}

/** Where the output of an attachment begins in the container's log: everything before is there. */
export interface LogPosition {
  readonly nextRecord: bigint;
}

/** Where in the container's log the rest of its output is, for a reader that was detached. */
export interface LogRest {
  readonly record: number;
  /** What of each stream, from that record on, it has been given already. */
  readonly given: { readonly stdout: number; readonly stderr: number };
}

/** What became of an exec's start. */
export type ExecOutcome =
  | { readonly kind: 'started'; readonly pid: number; readonly atMs: number }
  | { readonly kind: 'failed'; readonly failure: ShimFailure }
  | { readonly kind: 'lost' };

/** How the process ended that was attached to; undefined: that is not known here. */
export type AttachEnd = ExecExit | undefined;

/** Output that may wait here for its reader, in bytes, before no more is taken from the shim. */
const QUEUE_MAX = 256 * 1024;

/**
 * A connection attached to one process of a container: its output as it comes, and its stdin.
 *
 * Iterated over at most once. The iteration ends with the process, or before the rest of what a reader that was too
 * slow finds in the log; it throws where there is no log (`resourceExhausted`), or when the connection has ended without
 * word (`unavailable`).
 */
export class Attachment implements AsyncIterable<OutputChunk> {
  readonly #connection: ShimConnection;
  readonly #chunks: OutputChunk[] = [];
  #queued = 0;
  #takesAll = false;
  #rest: LogRest | undefined;
  #wake: (() => void) | undefined;
  #error: Error | undefined;
  #isOver = false;
  #unanswered = 0;
  #inputError: Error | undefined;
  #room: (() => void)[] = [];
  #settleOutcome!: (outcome: ExecOutcome) => void;
  #settleEnded!: (end: AttachEnd) => void;
  /** Of an exec. */
  readonly outcome: Promise<ExecOutcome>;
  readonly ended: Promise<AttachEnd>;

  private constructor(fd: number) {
    this.outcome = new Promise((resolve) => {
      this.#settleOutcome = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve;
    });
    this.#connection = new ShimConnection(
      fd,
      (frame) => this.#event(frame),
      () => this.#over(lost()),
    );
  }

  /** Attaches to a process: 0 is the container's own. Its stdin is open for `write` where the process has one. */
  static async open(
    runDir: string,
    process: number,
    options: AttachOptions,
  ): Promise<{ attachment: Attachment; position: LogPosition }> {
    const attachment = Attachment.#connect(runDir);
    try {
      const { payload } = await attachment.#connection.ask(FRAMES.ATTACH, attachPayload(process, options));
      return { attachment, position: { nextRecord: payload.readBigUInt64LE(16) } };
    } catch (error) {
      attachment.close();
      throw error;
    }
  }

  /**
   * Adds a process to the container and runs it, attached from its first byte on. Resolves with its number when its
   * start is under way; `outcome` tells how that went.
   *
   * @param size of its terminal, from the start
   * @throws ClusterError `resourceExhausted` when too many execs run
   */
  static async exec(
    runDir: string,
    spec: Buffer,
    options: AttachOptions,
    size?: { readonly rows: number; readonly columns: number },
  ): Promise<{ attachment: Attachment; process: number }> {
    const attachment = Attachment.#connect(runDir);
    const pieces = specPieces(spec);
    const own = Buffer.alloc(4);
    own.writeUInt32LE(EXEC_OWN);
    const run = [
      { type: FRAMES.ATTACH, payload: attachPayload(EXEC_OWN, options) },
      ...(size ? [{ type: FRAMES.RESIZE, payload: resizePayload(EXEC_OWN, size.rows, size.columns) }] : []),
      { type: FRAMES.GO, payload: own },
    ];
    try {
      // All at once where it is small; a large one in pieces, each answered, so that the shim is never overrun.
      for (const piece of pieces.slice(0, -1)) await attachment.#connection.ask(FRAMES.EXEC, piece);
      const answers = attachment.#connection.askAll([{ type: FRAMES.EXEC, payload: pieces.at(-1)! }, ...run]);
      const results = await Promise.allSettled(answers);
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason as Error;
      const first = await answers[0]!;
      return { attachment, process: first.payload.readUInt32LE(0) };
    } catch (error) {
      attachment.close();
      throw error;
    }
  }

  static #connect(runDir: string): Attachment {
    const { socket, pidfd } = connectShim(runDir);
    closeSync(pidfd);
    return new Attachment(socket);
  }

  /**
   * Writes to the process's stdin; resolves when it may be written to again. What one connection writes arrives in
   * order.
   *
   * @throws ClusterError `failedPrecondition` when its stdin is closed
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += FRAME_PAYLOAD_MAX) {
      while (this.#unanswered >= STDIN_WINDOW && !this.#inputError)
        await new Promise<void>((resolve) => this.#room.push(resolve));
      if (this.#inputError) throw this.#inputError;
      this.#send(bytes.subarray(at, at + FRAME_PAYLOAD_MAX));
    }
    if (this.#inputError) throw this.#inputError;
  }

  #send(piece: Uint8Array): void {
    this.#unanswered++;
    this.#connection
      .ask(FRAMES.STDIN, piece)
      .catch((error: Error) => {
        this.#inputError ??= error;
      })
      .finally(() => {
        this.#unanswered--;
        this.#room.shift()?.();
      });
  }

  /** Closes the process's stdin, behind everything written. A terminal's stays open. */
  async closeInput(): Promise<void> {
    await this.#connection.ask(FRAMES.STDIN_CLOSE);
  }

  /** Where the output goes on that a slow reader was not given; once the iteration is over. */
  get rest(): LogRest | undefined {
    return this.#rest;
  }

  /** The process has ended, and its shim waits for nobody long: takes what is there, which is bounded by its queue. */
  takeAll(): void {
    this.#takesAll = true;
    this.#connection.resume();
  }

  /** Detaches. The process goes on, its stdin stays open. */
  close(): void {
    this.#over(undefined);
    this.#connection.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk) {
          this.#queued -= chunk.bytes.length;
          if (this.#queued < QUEUE_MAX) this.#connection.resume();
          yield chunk;
        } else if (this.#isOver) {
          if (this.#error) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }

  #event({ type, payload }: Frame): void {
    switch (type) {
      case FRAMES.OUTPUT:
        this.#output(payload);
        break;
      case FRAMES.EXEC_STARTED:
        this.#settleOutcome({ kind: 'started', pid: payload.readUInt32LE(4), atMs: timeMs(payload, 8) });
        break;
      case FRAMES.EXEC_FAILED:
        this.#settleOutcome({ kind: 'failed', failure: decodeFailure(payload, 4) });
        this.#over(undefined);
        break;
      case FRAMES.EXEC_EXITED:
        this.#settleEnded(decodeExecExit(payload));
        this.#over(undefined);
        break;
      case FRAMES.EXITED:
        this.#settleEnded(decodeExit(payload));
        this.#over(undefined);
        break;
      case FRAMES.FAILED:
        this.#over(undefined);
        break;
      case FRAMES.RESUME:
        this.#rest = {
          record: Number(payload.readBigUInt64LE(0)),
          given: { stdout: payload.readUInt32LE(8), stderr: payload.readUInt32LE(12) },
        };
        break;
      case FRAMES.DETACHED:
        this.#over(this.#rest ? undefined : shimError(payload));
        break;
    }
  }

  #output(payload: Buffer): void {
    if (this.#isOver) return;
    const bytes = payload.subarray(1);
    this.#chunks.push({ stream: payload[0] === ATTACH.STDERR ? 'stderr' : 'stdout', bytes });
    this.#queued += bytes.length;
    if (this.#queued >= QUEUE_MAX && !this.#takesAll) this.#connection.pause();
    this.#wakeUp();
  }

  /** Nothing more comes. The first reason counts. */
  #over(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    this.#inputError ??= new ClusterError(
      'failedPrecondition',
      'the process has ended, or was detached from',
    );
    for (const resolve of this.#room.splice(0)) resolve();
    this.#settleOutcome({ kind: 'lost' });
    this.#settleEnded(undefined);
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

function attachPayload(process: number, options: AttachOptions): Buffer {
  const { stdout, stderr, wait, line, patienceMs = 0 } = options;
  const patience = Math.min(Math.ceil(patienceMs / PATIENCE_UNIT_MS), 0xffff);
  const payload = Buffer.alloc(8);
  payload.writeUInt32LE(process, 0);
  payload.writeUInt32LE(
    (stdout ? ATTACH.STDOUT : 0) |
      (stderr ? ATTACH.STDERR : 0) |
      (wait ? ATTACH.WAIT : 0) |
      ((line ? ATTACH.LINE : 0) + patience * 2 ** PATIENCE_SHIFT),
    4,
  );
  return payload;
}

export function resizePayload(process: number, rows: number, columns: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32LE(process, 0);
  payload.writeUInt16LE(Math.min(rows, 0xffff), 4);
  payload.writeUInt16LE(Math.min(columns, 0xffff), 6);
  return payload;
}

/** EXEC's payloads: offset, whole size, bytes. */
function specPieces(spec: Buffer): Buffer[] {
  const room = FRAME_PAYLOAD_MAX - 8;
  return Array.from({ length: Math.ceil(spec.length / room) }, (_, index) => {
    const piece = spec.subarray(index * room, (index + 1) * room);
    const payload = Buffer.alloc(8 + piece.length);
    payload.writeUInt32LE(index * room, 0);
    payload.writeUInt32LE(spec.length, 4);
    piece.copy(payload, 8);
    return payload;
  });
}
