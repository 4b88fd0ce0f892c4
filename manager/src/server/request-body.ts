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

async function readChunks(stream: Duplex): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const size = CHUNK_SIZE.exec(await readLine(stream))?.[1];
    if (size === undefined) throw malformed();
    const bytes = Number.parseInt(size, 16);
    length += bytes;
    if (length > BODY_BYTES_MAX) throw tooLarge();
    if (bytes === 0) break;
    chunks.push(await readExactly(stream, bytes));
    if ((await readLine(stream)) !== '') throw malformed();
  }
  // Trailers end with an empty line.
  for (let lines = 0; (await readLine(stream)) !== ''; lines++) if (lines === TRAILERS_MAX) throw malformed();
  return Buffer.concat(chunks);
}

async function readLine(stream: Duplex): Promise<string> {
  let line = '';
  while (!line.endsWith('\n')) {
    if (line.length > LINE_BYTES_MAX) throw malformed();
    line += Buffer.from(await readExactly(stream, 1)).toString('latin1');
  }
  return line.replace(/\r?\n$/, '');
}

async function readExactly(stream: Duplex, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let missing = length; missing > 0; ) {
    // Whatever is there is taken: a stream that has some is readable at once, however much is waited for.
    const bytes = stream.read(Math.min(missing, stream.readableLength) || undefined) as Buffer | null;
    if (bytes) {
      parts.push(bytes);
      missing -= bytes.length;
      continue;
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
  return Buffer.concat(parts);
}
