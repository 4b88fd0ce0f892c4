import type { Duplex } from 'node:stream';
import { ClusterError, errorKindOf, errorText, isErrorKind } from '@tessera/shared/errors';
import { FrameSocket } from '@tessera/shared/frames';
import type { Frame } from '@tessera/shared/wire';
import type { SideStream } from './side-stream.js';

/** The manager's end of the agent's call, after its first frame: Frames in, Frames out. */
export type FrameStream = Duplex;

/** A side stream that the agent has opened. */
export class OpenSideStream implements SideStream {
  readonly frames: AsyncIterable<Frame>;
  readonly isLocal: boolean;
  #isClosed = false;
  #closeError: ClusterError | undefined;
  readonly #closed = withResolvers();
  #wakeWriters: (() => void)[] = [];
  readonly #onAbort: () => void;

  constructor(
    private readonly stream: FrameStream,
    private readonly signal: AbortSignal,
  ) {
    this.isLocal = stream instanceof FrameSocket && stream.isLocal;
    this.frames = this.#read();
    this.#onAbort = () =>
      this.close(signal.reason ?? new ClusterError('cancelled', 'the stream was cancelled'));
    stream.on('drain', () => this.#wake());
    stream.on('error', () => this.#ended());
    stream.on('close', () => this.#ended());
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
  }

  async write(frame: Frame): Promise<void> {
    this.#assertOpen();
    if (this.stream.write(frame)) return;
    await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    this.#assertOpen();
  }

  end(): Promise<void> {
    return this.write({ body: { $case: 'end', value: true } });
  }

  close(error?: unknown): void {
    if (this.#isClosed) return;
    if (error instanceof ClusterError) this.#closeError = error;
    if (error !== undefined && !this.stream.destroyed)
      this.stream.write({
        body: { $case: 'error', value: { kind: errorKindOf(error), message: errorText(error) } },
      });
    this.stream.end();
    this.#ended();
    this.#closed.resolve();
  }

  async *#read(): AsyncGenerator<Frame> {
    // Ending the reading leaves the other way open: the answer may still be written.
    const frames = this.stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Frame>;
    let hasEnded = false;
    try {
      for (;;) {
        const result = await this.#next(frames);
        if (result.done) throw new ClusterError('unavailable', 'the node ended the stream half way');
        const { body } = result.value;
        if (body?.$case === 'error') throw streamError(body.value);
        if (body?.$case === 'end') {
          hasEnded = true;
          return;
        }
        yield result.value;
      }
    } catch (error) {
      throw error instanceof ClusterError ? error : broken(error);
    } finally {
      if (!hasEnded) this.close();
      // The end of the call comes behind what is left.
      this.stream.resume();
    }
  }

  /** Once closed on this side, only what has arrived already is still given out: the agent may never answer. */
  async #next(frames: AsyncIterator<Frame>): Promise<IteratorResult<Frame>> {
    const ready = this.stream.read() as Frame | null;
    if (ready) return { done: false, value: ready };
    const next = frames.next();
    // Whoever loses the race below has nobody to hear of its failure.
    next.catch(() => {});
    const first = await Promise.race([next, this.#closed.promise]);
    if (first) return first;
    const second = await Promise.race([next, aTurn()]);
    if (second) return second;
    throw this.#closeError ?? new ClusterError('cancelled', 'the stream to the node was closed');
  }

  #ended(): void {
    this.#isClosed = true;
    this.signal.removeEventListener('abort', this.#onAbort);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakeWriters.splice(0)) wake();
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new ClusterError('unavailable', 'the stream to the node has ended');
  }
}

function withResolvers(): { readonly promise: Promise<undefined>; readonly resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<undefined>((done) => {
    resolve = () => done(undefined);
  });
  return { promise, resolve };
}

const aTurn = (): Promise<undefined> => new Promise((resolve) => setImmediate(() => resolve(undefined)));

const streamError = ({ kind, message }: { kind: string; message: string }): ClusterError =>
  new ClusterError(isErrorKind(kind) ? kind : 'internal', message);

const broken = (cause: unknown): ClusterError =>
  new ClusterError('unavailable', 'the stream to the node broke', { cause });
