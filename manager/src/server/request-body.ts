import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';

/** The largest JSON body that is read: etcd refuses objects of 1.5 MiB. */
export const BODY_BYTES_MAX = 1024 * 1024;
const LINE_BYTES_MAX = 1024;
const TRAILERS_MAX = 100;
/** Digits, and perhaps an extension, which is not looked at. */
const CHUNK_SIZE = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i;
/** No request of Docker's comes near it; what looks at a body may go into it by recursion. */
const NESTING_MAX = 100;

export const tooLarge = () => invalid(`the request's body is larger than ${BODY_BYTES_MAX} bytes`);
const malformed = () => invalid("the request's chunks are malformed");

/** @throws ClusterError `invalidArgument` for what is not JSON, or does not say that it is */
export function parseJsonBody(bytes: Uint8Array, headers: IncomingHttpHeaders): unknown {
  const text = Buffer.from(bytes).toString('utf8').trim();
  if (text === '') return undefined;
  const type = headers['content-type'];
  // As dockerd: a browser can send a form across origins without asking, JSON it cannot.
  if (!type?.toLowerCase().startsWith('application/json')) {
    throw invalid(`unsupported Content-Type header (${type ?? ''}): must be 'application/json'`);
  }
  if (isNestedTooDeep(text)) throw invalid(`invalid JSON: nested more than ${NESTING_MAX} times`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ClusterError('invalidArgument', `invalid JSON: ${errorText(error)}`);
  }
}

/** Byte by byte, since an expression that knows strings would go over an unfinished one again and again. */
function isNestedTooDeep(text: string): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isInString && character === '\\') at++;
    else if (character === '"') isInString = !isInString;
    else if (isInString) continue;
    else if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    if (depth > NESTING_MAX) return true;
  }
  return false;
}

/**
 * The body of a request whose connection is about to be taken over: by its length or in its chunks, so that what comes
 * behind it stays on the stream.
 */
export async function readBodyOf(stream: Duplex, headers: IncomingHttpHeaders): Promise<Uint8Array> {
  const coding = headers['transfer-encoding']?.toLowerCase();
  if (coding === 'chunked') return readChunks(stream);
  if (coding !== undefined) throw invalid(`the transfer coding '${coding}' is not supported; use chunked`);
  const length = Number(headers['content-length'] ?? 0);
  if (!Number.isSafeInteger(length) || length < 0) throw invalid('the Content-Length header is no number');
  if (length > BODY_BYTES_MAX) throw tooLarge();
  return readExactly(stream, length);
}

/** The body of such a request as it arrives, whatever its length; reading slowly slows the client. */
export async function* bodyPieces(stream: Duplex, headers: IncomingHttpHeaders): AsyncGenerator<Uint8Array> {
  const coding = headers['transfer-encoding']?.toLowerCase();
  if (coding === undefined) return yield* exactly(stream, Number(headers['content-length'] ?? 0));
  for (let bytes = await readChunkSize(stream); bytes > 0; bytes = await readChunkSize(stream)) {
    yield* exactly(stream, bytes);
    if ((await readLine(stream)) !== '') throw malformed();
  }
  await readTrailers(stream);
}

/** Whether the body comes in one of the ways that are read here; if not, there is none. */
export const hasBody = (headers: IncomingHttpHeaders): boolean =>
  headers['transfer-encoding']?.toLowerCase() === 'chunked' || Number(headers['content-length'] ?? 0) > 0;

async function readChunks(stream: Duplex): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const bytes = await readChunkSize(stream);
    length += bytes;
    if (length > BODY_BYTES_MAX) throw tooLarge();
    if (bytes === 0) break;
    chunks.push(await readExactly(stream, bytes));
    if ((await readLine(stream)) !== '') throw malformed();
  }
  await readTrailers(stream);
  return Buffer.concat(chunks);
}

async function readChunkSize(stream: Duplex): Promise<number> {
  const size = CHUNK_SIZE.exec(await readLine(stream))?.[1];
  if (size === undefined) throw malformed();
  return Number.parseInt(size, 16);
}

/** They end with an empty line. */
async function readTrailers(stream: Duplex): Promise<void> {
  for (let lines = 0; (await readLine(stream)) !== ''; lines++) if (lines === TRAILERS_MAX) throw malformed();
}

async function readLine(stream: Duplex): Promise<string> {
  let line = '';
  for (;;) {
    const bytes = await readSome(stream);
    const end = bytes.indexOf(10);
    line += bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
    if (line.length > LINE_BYTES_MAX) throw malformed();
    if (end < 0) continue;
    if (end + 1 < bytes.length) stream.unshift(bytes.subarray(end + 1));
    return line.replace(/\r$/, '');
  }
}

async function readExactly(stream: Duplex, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of exactly(stream, length)) parts.push(part);
  return Buffer.concat(parts);
}

async function* exactly(stream: Duplex, length: number): AsyncGenerator<Buffer> {
  for (let missing = length; missing > 0; ) {
    const bytes = await readSome(stream, missing);
    missing -= bytes.length;
    yield bytes;
  }
}

/** Whatever is there, but no more than `most`. */
async function readSome(stream: Duplex, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
  for (;;) {
    // A stream that has some is readable at once, however much is waited for.
    const bytes = stream.read(Math.min(most, stream.readableLength) || undefined) as Buffer | null;
    if (bytes) {
      // What has come while it was looked at is not ours.
      if (bytes.length > most) stream.unshift(bytes.subarray(most));
      return bytes.length > most ? bytes.subarray(0, most) : bytes;
    }
    if (stream.readableEnded || stream.destroyed) throw invalid("the request's body is cut short");
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const name of ['readable', 'end', 'close']) stream.off(name, done);
        resolve();
      };
      for (const name of ['readable', 'end', 'close']) stream.on(name, done);
    });
  }
}
