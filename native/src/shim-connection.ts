import { ClusterError, type ErrorKind } from '@tessera/shared/errors';
import { FrameSocket } from './frame-socket.js';
import { encodeFrame, FRAMES, type Frame } from './frames.js';
import { errnoName } from './library.js';

interface Answer {
  resolve(frame: Frame): void;
  reject(error: Error): void;
}

/** Types from here on come from the shim and answer nothing. */
const EVENTS = new Set<number>([
  FRAMES.CREATED,
  FRAMES.STARTED,
  FRAMES.FAILED,
  FRAMES.EXITED,
  FRAMES.OUTPUT,
  FRAMES.EXEC_STARTED,
  FRAMES.EXEC_FAILED,
  FRAMES.EXEC_EXITED,
  FRAMES.DETACHED,
  FRAMES.RESUME,
]);

/** One connection to a shim: requests with their answers, and events. */
export class ShimConnection {
  readonly #socket: FrameSocket;
  readonly #answers = new Map<number, Answer>();
  #nextId = 1;
  #refusal: Error | undefined;

  /**
   * @param fd non-blocking; from now on ours to close
   * @param onLost called once, when the connection has ended; unanswered requests have been rejected by then
   */
  constructor(fd: number, onEvent: (frame: Frame) => void, onLost: () => void) {
    this.#socket = new FrameSocket(
      fd,
      (frame) => (EVENTS.has(frame.type) ? onEvent(frame) : this.#answer(frame)),
      () => {
        for (const { reject } of this.#answers.values()) reject(this.#refusal ?? lost());
        this.#answers.clear();
        onLost();
      },
    );
  }

  get isClosed(): boolean {
    return this.#socket.isClosed;
  }

  /** @throws ClusterError with the shim's words, or `unavailable` when the connection ends first */
  ask(type: number, payload?: Uint8Array): Promise<Frame> {
    return this.askAll([{ type, payload }])[0]!;
  }

  /** Several requests, sent as one. */
  askAll(
    requests: readonly { readonly type: number; readonly payload?: Uint8Array | undefined }[],
  ): Promise<Frame>[] {
    if (this.#socket.isClosed) return requests.map(() => Promise.reject(lost()));
    const frames: Buffer[] = [];
    const answers = requests.map(({ type, payload }) => {
      const id = this.#nextId;
      this.#nextId = id === 0xffff ? 1 : id + 1;
      frames.push(encodeFrame(type, id, payload));
      return new Promise<Frame>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    });
    this.#socket.send(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
    return answers;
  }

  /** For what is sent besides frames. */
  handOver(write: (fd: number) => void): void {
    this.#socket.handOver(write);
  }

  /** Reads nothing more for now. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.close();
  }

  #answer(frame: Frame): void {
    // An error that answers nothing says why the connection is about to end.
    if (frame.type === FRAMES.ERROR && frame.id === 0) this.#refusal = shimError(frame.payload);
    const answer = this.#answers.get(frame.id);
    this.#answers.delete(frame.id);
    if (frame.type === FRAMES.ERROR) answer?.reject(shimError(frame.payload));
    else answer?.resolve(frame);
  }
}

export const lost = () => new ClusterError('unavailable', 'the connection to the shim has ended');

/** From an ERROR's or a DETACHED's payload. */
export function shimError(payload: Buffer): ClusterError {
  const name = errnoName(payload.readInt32LE(0));
  return new ClusterError(
    KINDS[name] ?? 'failedPrecondition',
    `shim: ${payload.toString('utf8', 4)}: ${name}`,
  );
}

const KINDS: Record<string, ErrorKind> = {
  ENOSYS: 'unimplemented',
  EINVAL: 'invalidArgument',
  EAGAIN: 'resourceExhausted',
  ENOBUFS: 'resourceExhausted',
};
