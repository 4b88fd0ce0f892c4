import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../env/index.js';
import { ClusterError } from '../errors/index.js';
import { Frame } from '../gen/tessera/v1/dispatcher.js';
import { Pulse } from './pulse.js';

/** Where a manager takes side streams of its own host's agent, in the run directory. */
export const LOCAL_STREAMS_SOCKET = 'streams.sock';

const HEAD_BYTES = 4;
/** What a head says, in its upper three bits, of the bytes behind it. All but a message come as they are. */
const MESSAGE = 0;
/** Nothing more comes of this stream. */
const END = 1;
/** Nothing but that the other end is there. */
const SIGN_OF_LIFE = 2;
const DATA = 4;
const STDOUT = 5;
const STDERR = 6;
const KIND_SHIFT = 29;
const LENGTH_MASK = 2 ** KIND_SHIFT - 1;
/** As gRPC has it. */
const FRAME_BYTES_MAX = 4 * 1024 * 1024;

export interface FrameSocketOptions {
  /** Of a connection between hosts, of which one may go without a word: both ends give signs of life. */
  readonly clock?: Clock;
  /** Takes the connection over once both ends have ended the stream well, for the next one. Without it, it is closed. */
  readonly onFree?: (socket: Socket) => void;
}

/**
 * Side stream frames on a connection, each behind its length: a unix socket, or TLS between hosts. HTTP/2 and the copies
 * that gRPC makes cost many times what unpacking an image does, or serving a command. `data` and `output` are passed on as
 * they arrive, in pieces of any size and without a copy: fresh buffers are most of what moving bytes costs here, by the
 * garbage collections they bring about.
 *
 * A stream ends by a word of its own, so its connection may carry another one; one that ends otherwise is broken.
 */
export class FrameSocket extends Duplex {
  /** Whether the other end is on this host. */
  readonly isLocal: boolean;
  /** Of a message or a head that is not here whole yet. */
  #pieces: Buffer[] = [];
  #length = 0;
  /** How much is still to come of bytes that are no message, and what they are. */
  #rawLeft = 0;
  #rawKind = DATA;
  #hasEnded = false;
  #hasSaidEnd = false;
  #isReleased = false;
  readonly #pulse: Pulse | undefined;
  readonly #listeners = {
    data: (piece: Buffer) => this.#take(piece),
    end: () => this.#hasEnded || this.destroy(broken()),
    error: (cause: Error) => this.destroy(broken(cause)),
    close: () => this.destroy(broken()),
  };

  constructor(
    private readonly socket: Socket,
    private readonly options: FrameSocketOptions = {},
  ) {
    super({ objectMode: true, readableHighWaterMark: 16, writableHighWaterMark: 8 });
    const { clock } = options;
    this.isLocal = clock === undefined;
    if (clock)
      this.#pulse = new Pulse(
        clock,
        () => this.#beat(),
        () => this.destroy(broken()),
      );
    for (const [event, listener] of Object.entries(this.#listeners)) socket.on(event, listener);
    // It may break while it goes from hand to hand: whoever has it then sees that it is destroyed.
    this.on('error', () => undefined);
  }

  /** Ends it at once, as a call is cancelled. */
  cancel(): void {
    this.destroy();
  }

  override _read(): void {
    if (this.#isReleased) return;
    this.#pulse?.listen(true);
    this.socket.resume();
  }

  override _write(frame: Frame, _: BufferEncoding, done: () => void): void {
    this.#send([frame], done);
  }

  override _writev(waiting: readonly { readonly chunk: Frame }[], done: () => void): void {
    this.#send(
      waiting.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: () => void): void {
    this.socket.write(headOf(END));
    this.#hasSaidEnd = true;
    if (this.#hasEnded) this.#release(NOTHING);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#pulse?.stop();
    if (!this.#isReleased) this.socket.destroy();
    done(error);
  }

  #send(frames: readonly Frame[], done: () => void): void {
    this.#pulse?.start();
    let isTaken = true;
    this.socket.cork();
    for (const { body } of frames) {
      const { kind, bytes } = rawOf(body) ?? { kind: MESSAGE, bytes: Frame.encode({ body }).finish() };
      this.socket.write(headOf(kind, bytes.length));
      isTaken = this.socket.write(bytes);
    }
    this.socket.uncork();
    if (isTaken) done();
    else this.socket.once('drain', () => done());
  }

  #beat(): void {
    // What waits to be sent will do.
    if (this.socket.writableLength === 0) this.socket.write(headOf(SIGN_OF_LIFE));
  }

  #take(piece: Buffer): void {
    this.#pulse?.heard();
    let rest = piece;
    while (rest.length > 0 && !this.destroyed) {
      rest = this.#rawLeft > 0 ? this.#takeRaw(rest) : this.#takeFrame(rest);
    }
  }

  #takeRaw(piece: Buffer): Buffer {
    const bytes = piece.subarray(0, this.#rawLeft);
    this.#rawLeft -= bytes.length;
    this.#give({ body: bodyOf(this.#rawKind, bytes) });
    return piece.subarray(bytes.length);
  }

  /** @returns what is left of the piece behind a head, or a message, that is here whole now */
  #takeFrame(piece: Buffer): Buffer {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < HEAD_BYTES) return NOTHING;
    if (this.#pieces[0]!.length < HEAD_BYTES) this.#pieces = [Buffer.concat(this.#pieces)];
    const head = this.#pieces[0]!.readUInt32BE();
    const kind = head >>> KIND_SHIFT;
    const length = head & LENGTH_MASK;
    if (!this.#isExpected(kind, length)) {
      this.destroy(new ClusterError('internal', `a frame with the head ${head} came`));
      return NOTHING;
    }
    const frameBytes = HEAD_BYTES + (kind === MESSAGE ? length : 0);
    if (this.#length < frameBytes) return NOTHING;
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    const rest = all.subarray(frameBytes);
    if (kind === SIGN_OF_LIFE) return rest;
    if (kind === END) return this.#takeEnd(rest);
    this.#pulse?.start();
    if (kind === MESSAGE) this.#decode(all.subarray(HEAD_BYTES, frameBytes));
    else {
      this.#rawLeft = length;
      this.#rawKind = kind;
    }
    return rest;
  }

  #isExpected(kind: number, length: number): boolean {
    if (kind === SIGN_OF_LIFE) return length === 0;
    if (this.#hasEnded) return false;
    if (kind === END) return length === 0;
    return length <= FRAME_BYTES_MAX && (kind === MESSAGE || (kind >= DATA && kind <= STDERR));
  }

  #takeEnd(rest: Buffer): Buffer {
    this.#hasEnded = true;
    this.push(null);
    if (this.#hasSaidEnd) {
      this.#release(rest);
      return NOTHING;
    }
    // Nobody asks for more, yet that the other end goes must still be heard.
    this._read();
    return rest;
  }

  /** Whatever has come behind this stream is the next one's. */
  #release(rest: Buffer): void {
    const { socket } = this;
    this.#isReleased = true;
    this.#pulse?.stop();
    for (const [event, listener] of Object.entries(this.#listeners)) socket.off(event, listener);
    socket.pause();
    if (rest.length > 0) socket.unshift(rest);
    if (this.options.onFree && !socket.destroyed) {
      this.options.onFree(socket);
      return;
    }
    // Its other end does the same.
    socket.on('error', () => undefined);
    socket.end();
    socket.resume();
  }

  #decode(body: Buffer): void {
    try {
      this.#give(Frame.decode(body));
    } catch (cause) {
      this.destroy(new ClusterError('internal', 'what came is no frame', { cause }));
    }
  }

  #give(frame: Frame): void {
    if (this.push(frame)) return;
    this.socket.pause();
    this.#pulse?.listen(false);
  }
}

/** What of a frame goes as it is. An empty piece goes as a message. */
function rawOf(body: Frame['body']): { readonly kind: number; readonly bytes: Uint8Array } | undefined {
  if (body?.$case === 'data' && body.value.length > 0) return { kind: DATA, bytes: body.value };
  if (body?.$case !== 'output' || body.value.data.length === 0) return undefined;
  return { kind: body.value.stderr ? STDERR : STDOUT, bytes: body.value.data };
}

const bodyOf = (kind: number, bytes: Buffer): Frame['body'] =>
  kind === DATA
    ? { $case: 'data', value: bytes }
    : { $case: 'output', value: { stderr: kind === STDERR, data: bytes } };

function headOf(kind: number, length = 0): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt32BE(length + kind * 2 ** KIND_SHIFT);
  return head;
}

const NOTHING = Buffer.alloc(0);
const broken = (cause?: unknown) =>
  new ClusterError('unavailable', 'the connection with the other end of the stream broke', { cause });
