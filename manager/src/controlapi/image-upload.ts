import type { Image } from '@tessera/shared/model';
import type { SideStream, StreamKind } from '../streams/index.js';
import { chooseNode } from './image-nodes.js';
import type { ControlContext } from './ports.js';

/** A frame's data stays below gRPC's default bound of 4 MiB for a message, with room to spare. */
const FRAME_BYTES_MAX = 256 * 1024;

/**
 * Sends content to a node that makes images of it: this manager's own, else any that is ready.
 *
 * @param progress one line for people each
 * @returns the images, which nobody knows of yet
 * @throws ClusterError what the node's image store found wrong with the content, or `unavailable` when there is no node
 */
export async function uploadImages(
  context: ControlContext,
  kind: StreamKind,
  content: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Image[]> {
  const nodeId = chooseNode(await context.store.read(), context.nodeId);
  const stream = await context.streams.requestStream(nodeId, kind, signal);
  try {
    const images = await exchange(stream, content, progress);
    stream.close();
    return images;
  } catch (error) {
    stream.close(error);
    throw error;
  }
}

/** Sends the archive down while what the agent answers is read, since it may refuse half way. */
async function exchange(
  stream: SideStream,
  archive: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
): Promise<readonly Image[]> {
  const images: Image[] = [];
  const receive = async () => {
    for await (const { body } of stream.frames) {
      // What was loaded is said once, below, when its names have been written.
      if (body?.$case === 'progress' && !body.value.startsWith('Loaded image')) progress(body.value);
      if (body?.$case === 'imageLoaded' && body.value.image) images.push(body.value.image);
    }
  };
  const received = receive();
  // Its refusal is what the user must hear, not that the stream no longer takes what we send.
  const refused = received.then(
    () => undefined,
    (error: unknown) => error ?? new Error('refused'),
  );
  try {
    await send(stream, archive);
  } catch (error) {
    // The stream broke while writing, or the client went away while reading: the agent's word comes first.
    stream.close(error);
    throw (await refused) ?? error;
  }
  await received;
  return images;
}

async function send(stream: SideStream, archive: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of inFrames(archive)) {
    await stream.write({ body: { $case: 'data', value: piece } });
  }
  await stream.end();
}

/** What arrives in small pieces goes on in large ones: each frame waits for the one before it to be on its way. */
async function* inFrames(content: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + FRAME_BYTES_MAX - length);
      pieces.push(part);
      length += part.length;
      at += part.length;
      if (length < FRAME_BYTES_MAX) continue;
      yield Buffer.concat(pieces);
      pieces = [];
      length = 0;
    }
  }
  if (length > 0) yield Buffer.concat(pieces);
}
