import { ClusterError } from '@tessera/shared/errors';
import { onFirstFrame } from '@tessera/shared/frames';
import type { StreamRequest } from '@tessera/shared/wire';
import type { FrameStream } from './open-side-stream.js';

/** Of one node. An agent keeps fewer. */
const WAITING_MAX = 16;

interface Spare {
  readonly stream: FrameStream;
  /** It is not watched any more. */
  readonly leave: () => void;
}

/** Streams that agents have opened before anything is asked of them. To ask then takes one message. */
export class SpareStreams {
  readonly #waiting = new Map<string, Spare[]>();

  /** @throws ClusterError `resourceExhausted` when enough of them wait */
  offer(nodeId: string, stream: FrameStream): void {
    const waiting = this.#waiting.get(nodeId) ?? [];
    if (waiting.length >= WAITING_MAX)
      throw new ClusterError('resourceExhausted', `${WAITING_MAX} spare streams wait already`);
    const giveUp = onFirstFrame(stream, () => {
      stream.destroy(new ClusterError('invalidArgument', 'a spare stream spoke before it was asked'));
    });
    // Its other end has gone: this one goes too.
    const onEnd = () => stream.destroy();
    const leave = () => {
      giveUp();
      stream.off('end', onEnd);
      stream.off('close', leave);
      const left = (this.#waiting.get(nodeId) ?? []).filter((spare) => spare.stream !== stream);
      if (left.length > 0) this.#waiting.set(nodeId, left);
      else this.#waiting.delete(nodeId);
    };
    stream.once('end', onEnd);
    stream.once('close', leave);
    this.#waiting.set(nodeId, [...waiting, { stream, leave }]);
  }

  /**
   * Sends a request on one of a node's, if there is one.
   *
   * @param accept what is done with the stream once its agent has given its id
   * @returns undefined where none waits; otherwise a promise that is rejected when the stream ends
   */
  ask(
    nodeId: string,
    request: StreamRequest,
    accept: (streamId: string, stream: FrameStream) => void,
  ): Promise<never> | undefined {
    const spare = this.#waiting.get(nodeId)?.at(-1);
    if (!spare) return undefined;
    const { stream, leave } = spare;
    leave();
    const ended = new Promise<never>((_, reject) => {
      stream.once('close', () =>
        reject(new ClusterError('unavailable', 'the node went away before it opened the stream')),
      );
    });
    onFirstFrame(stream, ({ body }) => {
      try {
        if (body?.$case !== 'open')
          throw new ClusterError('invalidArgument', 'the stream did not give its id');
        accept(body.value, stream);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
    stream.write({ body: { $case: 'request', value: request } });
    return ended;
  }
}
