import type { Clock } from '@tessera/shared/env';
import { type FrameSocket, onFirstFrame } from '@tessera/shared/frames';
import type { StreamRequest } from '@tessera/shared/wire';
import { connectLocally } from './local-manager.js';

/** As many as a few commands at once ask for. */
const WAITING_MAX = 8;
/** When those that were taken are made up for: while somebody waits for an answer there is better to do. */
const DIAL_AFTER_MS = 50;

/**
 * Streams with the manager of this host that wait for what it asks next, so that a question costs it one message and
 * nobody a dialling. They end with that manager; the next one asks by the session first.
 */
export class SpareStreams {
  readonly #waiting = new Set<FrameSocket>();
  #dialling = 0;
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly clock: Clock,
    private readonly onRequest: (request: StreamRequest, stream: FrameSocket) => void,
  ) {}

  /** A manager answers on this socket: sees to it that soon enough streams wait for it. */
  keep(path: string): void {
    if (this.#closed) return;
    this.#cancel ??= this.clock.after(DIAL_AFTER_MS, () => {
      this.#cancel = undefined;
      this.#dial(path);
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    for (const stream of this.#waiting) stream.destroy();
  }

  #dial(path: string): void {
    while (this.#waiting.size + this.#dialling < WAITING_MAX) {
      this.#dialling++;
      void connectLocally(path).then((stream) => {
        this.#dialling--;
        if (stream) this.#wait(stream);
      });
    }
  }

  #wait(stream: FrameSocket): void {
    if (this.#closed) {
      stream.destroy();
      return;
    }
    this.#waiting.add(stream);
    const onEnd = () => stream.destroy();
    const onError = () => undefined; // `close` follows
    const onClose = () => this.#waiting.delete(stream);
    stream.once('end', onEnd).on('error', onError).once('close', onClose);
    onFirstFrame(stream, ({ body }) => {
      this.#waiting.delete(stream);
      stream.off('end', onEnd).off('close', onClose);
      if (body?.$case === 'request') this.onRequest(body.value, stream);
      else stream.destroy();
    });
    stream.write({ body: { $case: 'open', value: '' } });
  }
}
