import type { Image } from '@tessera/shared/model';
import type { Frame } from '@tessera/shared/wire';
import { exchange, type Lendable, type StreamKind } from '../streams/index.js';
import { chooseNode } from './image-nodes.js';
import type { ControlContext } from './ports.js';

/**
 * Sends content to a node that makes images of it: this manager's own, else any that is ready.
 *
 * @param progress one line for people each
 * @param connection where the content comes from, if `kind` says that it is lent
 * @returns the images, which nobody knows of yet
 * @throws ClusterError what the node's image store found wrong with the content, or `unavailable` when there is no node
 */
export async function uploadImages(
  context: ControlContext,
  kind: StreamKind,
  content: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
  signal: AbortSignal,
  connection?: Lendable,
): Promise<readonly Image[]> {
  const nodeId = chooseNode(await context.store.read(), context.nodeId);
  const stream = await context.streams.requestStream(nodeId, kind, signal);
  try {
    const images: Image[] = [];
    const onFrame = (body: NonNullable<Frame['body']>) => {
      // What was loaded is said once, by whoever asked, when its names have been written.
      if (body.$case === 'progress' && !body.value.startsWith('Loaded image')) progress(body.value);
      if (body.$case === 'imageLoaded' && body.value.image) images.push(body.value.image);
    };
    await exchange(stream, content, onFrame, connection);
    stream.close();
    return images;
  } catch (error) {
    stream.close(error);
    throw error;
  }
}
