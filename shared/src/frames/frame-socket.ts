import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { ClusterError } from '../errors/index.js';
import { Frame } from '../gen/tessera/v1/dispatcher.js';

/** Where a manager takes side streams of its own host's agent, in the run directory. */
export const LOCAL_STREAMS_SOCKET = 'streams.sock';

const HEAD_BYTES = 4;
/** What the bytes behind a head are: its upper three bits. All but a message come as they are. */
const MESSAGE = 0;
const DATA = 4;
const STDOUT = 5;
const STDERR = 6;
const KIND_SHIFT = 29;
const LENGTH_MASK = 2 ** KIND_SHIFT - 1;
/** As gRPC has it. */
const FRAME_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Side stream frames on a unix socket, each behind its length: what two processes of one host need of gRPC. HTTP/2,
 * TLS and the copies between cost many times what unpacking an image does, or serving a command. `data` and `output` are
 * passed on as they arrive, in pieces of any size and without a copy: fresh buffers are most of what moving bytes costs
 * here, by the garbage collections they bring about.
 *
 * The socket must leave its other half open.
 */
export class FrameSocket extends Duplex {
  /** Of a message or a head that is not here whole yet. */
  #pieces: Buffer[] = [];
  #length = 0;
  /** How much is still to come of bytes that are no message, and what they are. */
  #rawLeft = 0;
  #rawKind = DATA;

  constructor(private readonly socket: Socket) {
    super({ objectMode: true, readableHighWaterMark: 16, writableHighWaterMark: 4 });
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('end', () => {
      if (this.#length > 0 || this.#rawLeft > 0) this.destroy(broken());
      else this.push(null);
    });
    socket.on('error', (cause) => this.destroy(broken(cause)));
    socket.on('close', () => {
      if (!this.readableEnded || !this.writableFinished) this.destroy(broken());
    });
  }

  /** Ends it at once, as a call is cancelled. */
  cancel(): void {
    this.destroy();
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write({ body }: Frame, _: BufferEncoding, done: (error?: Error) => void): void {
    const { kind, bytes } = rawOf(body) ?? { kind: MESSAGE, bytes: Frame.encode({ body }).finish() };
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(bytes.length + kind * 2 ** KIND_SHIFT);
    this.socket.cork();
    this.socket.write(head);
    const isTaken = this.socket.write(bytes);
    this.socket.uncork();
    if (isTaken) done();
    else this.socket.once('drain', () => done());
  }

  override _final(done: () => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Ended well by both sides, it closes by itself once all is on its way.
    if (error || !this.readableEnded || !this.writableFinished) this.socket.destroy();
    done(error);
  }

  #take(piece: Buffer): void {
    let rest = piece;
    while (rest.length > 0 && !this.destroyed) {
      rest = this.#rawLeft > 0 ? this.#takeRaw(rest) : this.#takeMessage(rest);
    }
  }

  #takeRaw(piece: Buffer): Buffer {
    const bytes = piece.subarray(0, this.#rawLeft);
    this.#rawLeft -= bytes.length;
    this.#give({ body: bodyOf(this.#rawKind, bytes) });
    return piece.subarray(bytes.length);
  }

  /** @returns what is left of the piece behind a message that is here whole now */
  #takeMessage(piece: Buffer): Buffer {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < HEAD_BYTES) return NOTHING;
    if (this.#pieces[0]!.length < HEAD_BYTES) this.#pieces = [Buffer.concat(this.#pieces)];
    const head = this.#pieces[0]!.readUInt32BE();
    const kind = head >>> KIND_SHIFT;
    const length = head & LENGTH_MASK;
    const bodyBytes = kind === MESSAGE ? length : 0;
    if (length > FRAME_BYTES_MAX || (kind !== MESSAGE && kind < DATA) || kind > STDERR) {
      this.destroy(new ClusterError('internal', `a frame with the head ${head} came`));
      return NOTHING;
    }
    if (this.#length < HEAD_BYTES + bodyBytes) return NOTHING;
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    if (kind === MESSAGE) this.#decode(all.subarray(HEAD_BYTES, HEAD_BYTES + bodyBytes));
    else {
      this.#rawLeft = length;
      this.#rawKind = kind;
    }
    return all.subarray(HEAD_BYTES + bodyBytes);
  }

  #decode(body: Buffer): void {
    try {
      this.#give(Frame.decode(body));
    } catch (cause) {
      this.destroy(new ClusterError('internal', 'what came is no frame', { cause }));
    }
  }

  #give(frame: Frame): void {
    if (!this.push(frame)) this.socket.pause();
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

const NOTHING = Buffer.alloc(0);
const broken = (cause?: unknown) =>
  new ClusterError('unavailable', 'the connection with the other process of this host broke', { cause });
