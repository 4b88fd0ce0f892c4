import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { ClusterError } from '../errors/index.js';
import { Frame } from '../gen/tessera/v1/dispatcher.js';

/** Where a manager takes side streams of its own host's agent, in the run directory. */
export const LOCAL_STREAMS_SOCKET = 'streams.sock';

const HEAD_BYTES = 4;
/** Set in a head before bytes that are no message: a `data` frame's, as they are. */
const RAW = 0x8000_0000;
/** As gRPC has it. */
const FRAME_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Side stream frames on a unix socket, each behind its length: what two processes of one host need of gRPC. Bulk goes
 * over it, since HTTP/2, TLS and the copies between cost many times what unpacking it does. `data` is passed on as it
 * arrives, in pieces of any size and without a copy: fresh buffers are most of what moving bytes costs here, by the
 * garbage collections they bring about.
 *
 * The socket must leave its other half open.
 */
export class FrameSocket extends Duplex {
  /** Of a message or a head that is not here whole yet. */
  #pieces: Buffer[] = [];
  #length = 0;
  /** How much of a `data` frame is still to come. */
  #rawLeft = 0;

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
    const isRaw = body?.$case === 'data' && body.value.length > 0;
    const bytes = isRaw ? body.value : Frame.encode({ body }).finish();
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(isRaw ? bytes.length + RAW : bytes.length);
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
    const value = piece.subarray(0, this.#rawLeft);
    this.#rawLeft -= value.length;
    this.#give({ body: { $case: 'data', value } });
    return piece.subarray(value.length);
  }

  /** @returns what is left of the piece behind a message that is here whole now */
  #takeMessage(piece: Buffer): Buffer {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < HEAD_BYTES) return NOTHING;
    if (this.#pieces[0]!.length < HEAD_BYTES) this.#pieces = [Buffer.concat(this.#pieces)];
    const head = this.#pieces[0]!.readUInt32BE();
    const bodyBytes = head >= RAW ? 0 : head;
    if ((head >= RAW ? head - RAW : head) > FRAME_BYTES_MAX) {
      this.destroy(new ClusterError('internal', `a frame with the head ${head} came`));
      return NOTHING;
    }
    if (this.#length < HEAD_BYTES + bodyBytes) return NOTHING;
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    if (head >= RAW) this.#rawLeft = head - RAW;
    else this.#decode(all.subarray(HEAD_BYTES, HEAD_BYTES + bodyBytes));
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

const NOTHING = Buffer.alloc(0);
const broken = (cause?: unknown) =>
  new ClusterError('unavailable', 'the connection with the other process of this host broke', { cause });
