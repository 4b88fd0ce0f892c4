import type { Readable } from 'node:stream';
import type { Frame } from '../gen/tessera/v1/dispatcher.js';

/**
 * Takes the first frame of a stream, and leaves what comes behind it unread.
 *
 * @returns gives up waiting for it
 */
export function onFirstFrame(stream: Readable, take: (frame: Frame) => void): () => void {
  const onReadable = () => {
    const frame = stream.read() as Frame | null;
    if (!frame) return;
    giveUp();
    take(frame);
  };
  const giveUp = () => {
    stream.off('readable', onReadable);
  };
  stream.on('readable', onReadable);
  return giveUp;
}
