import type { Frame } from '@tessera/shared/wire';
import { type Lendable, Lending } from './lendable.js';
import type { SideStream } from './side-stream.js';

/** A frame's data stays below the bound of 4 MiB for a frame, with room to spare. */
const FRAME_BYTES_MAX = 256 * 1024;

/**
 * Sends content down while what the agent answers is read, since it may refuse half way.
 *
 * @param connection where the content comes from, if the agent has been told that it is lent: then it reads it itself,
 *   as long as it can
 * @throws its refusal
 */
export async function exchange(
  stream: SideStream,
  content: AsyncIterable<Uint8Array>,
  onFrame: (body: NonNullable<Frame['body']>) => void,
  connection?: Lendable,
): Promise<void> {
  const lending = connection && stream.isLocal ? new Lending(connection) : undefined;
  const receive = async () => {
    for await (const { body } of stream.frames) {
      if (body?.$case === 'connectionTaken') lending?.hear(body.value);
      else if (body) onFrame(body);
    }
  };
  const received = receive();
  // Its refusal is what the user must hear, not that the stream no longer takes what we send.
  const refused = received.then(
    () => undefined,
    (error: unknown) => error ?? new Error('refused'),
  );
  try {
    await lending?.offer(stream);
    // It may also have done, or have refused, before it says so.
    const isTaken = await Promise.race([lending?.answer ?? false, received.then(() => true)]);
    const sent = isTaken ? Promise.resolve() : send(stream, content);
    sent.catch(() => undefined);
    // The user's next piece may never come: a refusal, or the loss of the agent, is not kept until it does.
    await Promise.race([sent, received.then(() => sent)]);
    await received;
  } catch (error) {
    // The stream broke while writing, or the client went away while reading: the agent's word comes first.
    stream.close(error);
    throw (await refused) ?? error;
  } finally {
    lending?.takeBack();
  }
}

async function send(stream: SideStream, content: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const { buffer, byteOffset, length } of content) {
    const chunk = Buffer.from(buffer, byteOffset, length);
    // As they come: what the stream does not take at once goes on together.
    for (let at = 0; at < chunk.length; at += FRAME_BYTES_MAX)
      await stream.write({ body: { $case: 'data', value: chunk.subarray(at, at + FRAME_BYTES_MAX) } });
  }
  await stream.end();
}
