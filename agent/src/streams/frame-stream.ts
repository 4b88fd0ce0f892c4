import { ClusterError, errorKindOf, errorText, fromServiceError, isErrorKind } from '@tessera/shared/errors';
import type { FrameSocket } from '@tessera/shared/frames';
import type { Frame } from '@tessera/shared/wire';

type Body = NonNullable<Frame['body']>;

/**
 * The agent's end of a side stream. A slow manager slows `write`; while nobody reads `data`, the manager is slowed.
 */
export class FrameStream {
  readonly #stream: FrameSocket;
  readonly #onAbort: () => void;
  #failure: Error | undefined;

  /**
   * Says to a manager that has been called which stream this is.
   *
   * @param signal ends the stream at once
   */
  constructor(
    call: FrameSocket,
    streamId: string,
    private readonly signal: AbortSignal,
  ) {
    this.#stream = call;
    this.#stream.on('error', (error) => {
      this.#failure = fromServiceError(error);
    });
    this.#onAbort = () => this.#stream.cancel();
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#stream.write({ body: { $case: 'open', value: streamId } });
  }

  /**
   * Resolves once the stream takes more.
   * @throws ClusterError `unavailable` when the stream has ended
   */
  async write(body: Body): Promise<void> {
    if (this.#stream.write({ body })) return;
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        this.#stream.off('drain', onDrain);
        this.#stream.off('close', onClose);
        this.#stream.off('error', onClose);
      };
      const onDrain = () => {
        done();
        resolve();
      };
      const onClose = () => {
        done();
        reject(this.#failure ?? new ClusterError('unavailable', 'the side stream has ended'));
      };
      if (this.#stream.destroyed || this.#failure) return onClose();
      this.#stream.once('drain', onDrain);
      this.#stream.once('close', onClose);
      this.#stream.once('error', onClose);
    });
  }

  /** Whether the manager is this host's own. */
  get isLocal(): boolean {
    return this.#stream.isLocal;
  }

  /** The next thing the manager sends. @throws ClusterError `unavailable` when it sends nothing more */
  async next(): Promise<Body> {
    for await (const body of this.frames()) return body;
    throw new ClusterError('unavailable', 'the manager has ended the stream');
  }

  /** Resolves when the manager has ended the stream, whatever else it had sent. */
  async ended(): Promise<void> {
    for await (const _ of this.#stream) {
      // What a manager sends on a stream that only it reads is of no interest, but must be taken.
    }
  }

  /** What the manager sends, frame by frame, until it ends the stream. @throws ClusterError when the stream breaks */
  async *frames(): AsyncGenerator<Body> {
    try {
      const frames: AsyncIterable<Frame> = this.#stream.iterator({ destroyOnReturn: false });
      for await (const { body } of frames) if (body) yield body;
    } catch (error) {
      throw fromServiceError(error);
    }
  }

  /** The bytes the manager sends, up to its `end`. @throws the error it sends instead, or `unavailable` */
  async *data(): AsyncGenerator<Uint8Array> {
    try {
      // Ending the reading must leave the other way open: the answer is still to be written.
      const frames: AsyncIterable<Frame> = this.#stream.iterator({ destroyOnReturn: false });
      for await (const { body } of frames) {
        if (body?.$case === 'data') yield body.value;
        else if (body?.$case === 'end') return;
        else if (body?.$case === 'error')
          throw new ClusterError(
            isErrorKind(body.value.kind) ? body.value.kind : 'internal',
            body.value.message,
          );
      }
    } catch (error) {
      throw fromServiceError(error);
    }
    throw new ClusterError('unavailable', 'the stream ended in the middle of the archive');
  }

  /** Ends the stream well. */
  async finish(): Promise<void> {
    await this.write({ $case: 'end', value: true });
    this.#stream.end();
  }

  /** Ends the stream with what went wrong. */
  async fail(error: unknown): Promise<void> {
    if (this.signal.aborted || this.#failure) return;
    await this.write({ $case: 'error', value: { kind: errorKindOf(error), message: errorText(error) } });
    this.#stream.end();
  }

  /** Waits for its end on both sides, once what has been written is on its way; at once when the signal says so. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#stream.destroyed || this.#failure || this.signal.aborted) return resolve();
      this.#stream.once('error', () => resolve());
      this.#stream.once('close', () => resolve());
      this.#stream.resume();
    });
    this.signal.removeEventListener('abort', this.#onAbort);
  }
}
