/** Which stream a frame of Docker's multiplexed format is from. 3 carries an error of the daemon. */
export const STDOUT = 1;
export const STDERR = 2;
export const SYSTEM_ERROR = 3;
/** From this API version on, the media type tells the two formats apart. */
const MULTIPLEXED_SINCE = 142;

export const RAW_STREAM = 'application/vnd.docker.raw-stream';

/** @param isRaw the bytes as they are, as from a terminal */
export const streamType = (version: number, isRaw: boolean): string =>
  version >= MULTIPLEXED_SINCE && !isRaw ? 'application/vnd.docker.multiplexed-stream' : RAW_STREAM;

/** Source: moby pkg/stdcopy: stream, three zeros, length as 32 bits big-endian, content. */
export function frame(stream: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(content.length, 4);
  return Buffer.concat([head, content]);
}
