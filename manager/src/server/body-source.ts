import type { Duplex } from 'node:stream';

/** Where the bytes of a body are had from. */
export interface BodySource {
  /** The next ones, at least one and no more than `most`; undefined when none come any more. */
  next(most?: number): Promise<Buffer | undefined>;
  /** Takes back what turned out to be too much. */
  unread(bytes: Buffer): void;
}

/** Bytes that stay on the stream until they are asked for: what comes behind the body is left there untouched. */
export function heldBack(stream: Duplex): BodySource {
  return {
    async next(most = Number.POSITIVE_INFINITY) {
      for (;;) {
        // A stream that has some is readable at once, however much is waited for.
        const bytes = stream.read(Math.min(most, stream.readableLength) || undefined) as Buffer | null;
        if (bytes) {
          // What has come while it was looked at is not ours.
          if (bytes.length > most) stream.unshift(bytes.subarray(most));
          return bytes.length > most ? bytes.subarray(0, most) : bytes;
        }
        if (stream.readableEnded || stream.destroyed) return undefined;
        await new Promise<void>((resolve) => {
          const done = () => {
            for (const name of ['readable', 'end', 'close']) stream.off(name, done);
            resolve();
          };
          for (const name of ['readable', 'end', 'close']) stream.on(name, done);
        });
      }
    },
    unread: (bytes) => stream.unshift(bytes),
  };
}

/** Pieces that wait for whoever reads, of 64 KiB at most each; the client is slowed then. */
const WAITING_MAX = 8;

/**
 * Bytes in the buffers they arrived in. A stream that is asked for them joins whatever waits into a fresh one, and fresh
 * buffers are most of what moving bytes costs.
 */
export class Arrivals implements BodySource {
  readonly #waiting: Buffer[] = [];
  #hasEnded: boolean;
  #wake = () => {};

  constructor(private readonly stream: Duplex) {
    this.#hasEnded = stream.readableEnded || stream.destroyed;
    stream.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd);
    stream.resume();
  }

  async next(most = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#hasEnded) return undefined;
      this.stream.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const first = this.#waiting[0]!;
    if (first.length > most) {
      this.#waiting[0] = first.subarray(most);
      return first.subarray(0, most);
    }
    this.#waiting.shift();
    return first;
  }

  unread(bytes: Buffer): void {
    this.#waiting.unshift(bytes);
  }

  /** What nobody has read goes back to the stream. */
  leave(): void {
    this.stream.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd);
    this.stream.pause();
    if (this.#hasEnded) return;
    for (const bytes of this.#waiting.splice(0).reverse()) this.stream.unshift(bytes);
  }

  readonly #onData = (bytes: Buffer) => {
    if (this.#waiting.push(bytes) >= WAITING_MAX) this.stream.pause();
    this.#wake();
  };

  readonly #onEnd = () => {
    this.#hasEnded = true;
    this.#wake();
  };
}
