import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import { Arrivals, type BodySource, heldBack } from './body-source.js';

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
  const source = heldBack(stream);
  const coding = headers['transfer-encoding']?.toLowerCase();
  if (coding === 'chunked') return readChunks(source);
  if (coding !== undefined) throw invalid(`the transfer coding '${coding}' is not supported; use chunked`);
  const length = Number(headers['content-length'] ?? 0);
  if (!Number.isSafeInteger(length) || length < 0) throw invalid('the Content-Length header is no number');
  if (length > BODY_BYTES_MAX) throw tooLarge();
  return readExactly(source, length);
}

/** The body of such a request as it arrives, whatever its length; reading slowly slows the client. */
export async function* bodyPieces(stream: Duplex, headers: IncomingHttpHeaders): AsyncGenerator<Uint8Array> {
  const source = new Arrivals(stream);
  try {
    const coding = headers['transfer-encoding']?.toLowerCase();
    if (coding === undefined) return yield* exactly(source, Number(headers['content-length'] ?? 0));
    for (let bytes = await readChunkSize(source); bytes > 0; bytes = await readChunkSize(source)) {
      yield* exactly(source, bytes);
      if ((await readLine(source)) !== '') throw malformed();
    }
    await readTrailers(source);
  } finally {
    source.leave();
  }
}

/** Whether the body comes in one of the ways that are read here; if not, there is none. */
export const hasBody = (headers: IncomingHttpHeaders): boolean =>
  headers['transfer-encoding']?.toLowerCase() === 'chunked' || Number(headers['content-length'] ?? 0) > 0;

async function readChunks(source: BodySource): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const bytes = await readChunkSize(source);
    length += bytes;
    if (length > BODY_BYTES_MAX) throw tooLarge();
    if (bytes === 0) break;
    chunks.push(await readExactly(source, bytes));
    if ((await readLine(source)) !== '') throw malformed();
  }
  await readTrailers(source);
  return Buffer.concat(chunks);
}

async function readChunkSize(source: BodySource): Promise<number> {
  const size = CHUNK_SIZE.exec(await readLine(source))?.[1];
  if (size === undefined) throw malformed();
  return Number.parseInt(size, 16);
}

/** They end with an empty line. */
async function readTrailers(source: BodySource): Promise<void> {
  for (let lines = 0; (await readLine(source)) !== ''; lines++) if (lines === TRAILERS_MAX) throw malformed();
}

async function readLine(source: BodySource): Promise<string> {
  let line = '';
  for (;;) {
    const bytes = await readSome(source);
    const end = bytes.indexOf(10);
    line += bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
    if (line.length > LINE_BYTES_MAX) throw malformed();
    if (end < 0) continue;
    if (end + 1 < bytes.length) source.unread(bytes.subarray(end + 1));
    return line.replace(/\r$/, '');
  }
}

async function readExactly(source: BodySource, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of exactly(source, length)) parts.push(part);
  return Buffer.concat(parts);
}

async function* exactly(source: BodySource, length: number): AsyncGenerator<Buffer> {
  for (let missing = length; missing > 0; ) {
    const bytes = await readSome(source, missing);
    missing -= bytes.length;
    yield bytes;
  }
}

/** Whatever is there, but no more than `most`. */
async function readSome(source: BodySource, most?: number): Promise<Buffer> {
  const bytes = await source.next(most);
  if (bytes) return bytes;
  throw invalid("the request's body is cut short");
}
