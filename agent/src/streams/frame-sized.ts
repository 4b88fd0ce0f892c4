const FRAME_BYTES = 256 * 1024;

/** Pieces of a size that shares a connection well. */
export function* frameSized(content: Uint8Array): Generator<Buffer> {
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  for (let offset = 0; offset < buffer.length; offset += FRAME_BYTES)
    yield buffer.subarray(offset, offset + FRAME_BYTES);
}
