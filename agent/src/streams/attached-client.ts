import type { Logger } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import type { AttachedClient, TerminalSize } from '../executor/attachment.js';
import type { FrameStream } from './frame-stream.js';

/** Frames of a size that shares a connection well. */
const PIECE_BYTES = 64 * 1024;

export interface ClientInput {
  /** Whether what it sends is for stdin. */
  readonly stdin: boolean;
  readonly resize: (size: TerminalSize) => Promise<void>;
  /** Called whenever it has taken a piece of the output. */
  readonly onTaken?: () => void;
}

/** Joins a side stream to the standard streams of a process. Resolves when the process's output has been sent. */
export async function joinClient(
  client: AttachedClient,
  stream: FrameStream,
  input: ClientInput,
  stop: AbortController,
  logger: Logger,
): Promise<void> {
  try {
    void takeInput(client, stream, input, stop, logger);
    for await (const piece of client) {
      stop.signal.throwIfAborted();
      const { buffer, byteOffset, length } = piece.bytes;
      for (let at = 0; at < length; at += PIECE_BYTES) {
        const data = Buffer.from(buffer, byteOffset + at, Math.min(PIECE_BYTES, length - at));
        await stream.write({ $case: 'output', value: { stderr: piece.stream === 'stderr', data } });
        input.onTaken?.();
      }
    }
  } finally {
    client.close();
  }
}

/** Until the manager ends the stream. A client that has gone, or a manager, closes nobody's stdin. */
async function takeInput(
  client: AttachedClient,
  stream: FrameStream,
  { stdin, resize }: ClientInput,
  stop: AbortController,
  logger: Logger,
): Promise<void> {
  let isOpen = stdin;
  const toStdin = async (work: () => Promise<void>) => {
    try {
      if (isOpen) await work();
    } catch (error) {
      // Its stdin is closed, or it has ended: what comes is thrown away, as by a pipe that nobody reads.
      isOpen = false;
      logger.debug({ reason: errorText(error) }, 'a process takes no more input');
    }
  };
  try {
    for await (const body of stream.frames()) {
      if (body.$case === 'data') await toStdin(() => client.write(body.value));
      else if (body.$case === 'end') await toStdin(() => client.endInput());
      else if (body.$case === 'resize') await resize(body.value).catch(() => undefined);
    }
  } catch {
    // The stream broke, which the sender of the output is told of as well.
  }
  stop.abort(new DOMException('the client has gone', 'AbortError'));
  client.close();
}
