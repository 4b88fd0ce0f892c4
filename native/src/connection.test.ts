import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeConnection } from './connection.js';
import { unpackArchive } from './unpack.js';

// A client on one end of a socket, a confined helper on a duplicate of the other.

const { signal } = new AbortController();

let directory: string;
let server: Server;
let client: Socket;
let accepted: Socket;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-connection-'));
  const path = join(directory, 's');
  const coming = new Promise<Socket>((resolve) => {
    server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, resolve);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  client = connect({ path, allowHalfOpen: true });
  // A helper that refuses leaves bytes unread.
  client.on('error', () => undefined);
  accepted = await coming;
});
afterEach(() => {
  client.destroy();
  accepted.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

const fdOf = (socket: Socket) =>
  (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
const placeOf = (fd: number) => ({ pid: process.pid, fd, inode: fstatSync(fd).ino });

/** What the helper unpacks of a body, of which `head` had been read already. */
async function unpacked(head: Buffer, bytes?: number): Promise<string> {
  const root = join(directory, 'root');
  mkdirSync(root);
  let isOpen = true;
  const input = {
    connection: takeConnection(placeOf(fdOf(accepted))),
    head,
    bytes,
    close: () => {
      isOpen = false;
    },
  };
  try {
    await unpackArchive({ mode: 'archive', root, input }, signal);
  } finally {
    expect(isOpen).toBe(false);
  }
  return readFileSync(join(root, 'file'), 'utf8');
}

const CONTENT = 'of the archive\n'.repeat(20_000);
function archive(): Buffer {
  writeFileSync(join(directory, 'file'), CONTENT);
  return execFileSync('tar', ['-C', directory, '-cf', '-', 'file']);
}
const LAST = '0\r\n\r\n';
const chunk = (bytes: Buffer, extension = '') =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}${extension}\r\n`), bytes, Buffer.from('\r\n')]);
function chunked(bytes: Buffer, size: number, last = LAST): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(chunk(bytes.subarray(at, at + size)));
  return Buffer.concat([...chunks, Buffer.from(last)]);
}

describe('the body of a request', () => {
  test.each([
    ['in chunks', (bytes: Buffer) => chunked(bytes, 32_768)],
    ['in chunks of one byte', (bytes: Buffer) => chunked(bytes, 1)],
    ['in one chunk', (bytes: Buffer) => chunked(bytes, bytes.length)],
    [
      'with trailers, and bare ends of lines',
      (bytes: Buffer) => chunked(bytes, 4_097, '0\nX-Trailer: 1\n\n'),
    ],
    [
      'with extensions',
      (bytes: Buffer) => Buffer.concat([chunk(bytes, ' ;name="value"'), Buffer.from(LAST)]),
    ],
  ])('%s is read to its end, wherever it had been read to before', async (_, bodyOf) => {
    const body = bodyOf(archive());
    client.write(body.subarray(70_001));
    // What follows is not the body's, and the connection is not ended.
    client.write('GET / HTTP/1.1\r\n');

    expect(await unpacked(body.subarray(0, 70_001))).toBe(CONTENT);
  });

  test('by its length ends there', async () => {
    const body = archive();
    client.write(body.subarray(10));
    client.write('more');

    expect(await unpacked(body.subarray(0, 10), body.length)).toBe(CONTENT);
  });

  test('that comes slowly is waited for', async () => {
    const body = chunked(archive(), 50_000);
    const content = unpacked(Buffer.alloc(0));

    for (let at = 0; at < body.length; at += 30_000) {
      client.write(body.subarray(at, at + 30_000));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }

    expect(await content).toBe(CONTENT);
  });

  test.each([
    ['cut short in a chunk', (bytes: Buffer) => chunked(bytes, 32_768).subarray(0, 100_000), /cut short/],
    ['without its last chunk', (bytes: Buffer) => chunked(bytes, 32_768, ''), /cut short/],
    ['with a size that is none', () => Buffer.from('xyz\r\n'), /chunks are malformed/],
    ['with a size beyond all bounds', () => Buffer.from('fffffffffffffffff\r\n'), /chunks are malformed/],
    ['with a negative size', () => Buffer.from('-1\r\n'), /chunks are malformed/],
    ['with an endless line', () => Buffer.from(`1;${'x'.repeat(5_000)}`), /chunks are malformed/],
    ['with a chunk longer than it says', () => Buffer.from('1\r\nxx\r\n'), /chunks are malformed/],
    [
      'with endless trailers',
      (bytes: Buffer) => chunked(bytes, 9_999, `0\r\n${'a: b\r\n'.repeat(200)}\r\n`),
      /chunks are malformed/,
    ],
  ])('%s is refused', async (_, bodyOf, message) => {
    client.end(bodyOf(archive()));

    await expect(unpacked(Buffer.alloc(0))).rejects.toThrow(message);
  });

  test('shorter than its length is refused', async () => {
    const body = archive();
    client.end(body);

    await expect(unpacked(Buffer.alloc(0), body.length + 1)).rejects.toThrow(/cut short/);
  });
});

test('a number that has become another connection is not taken', () => {
  const fd = fdOf(accepted);

  expect(() => takeConnection({ ...placeOf(fd), inode: placeOf(fdOf(client)).inode })).toThrow(/another one/);
});

test('what is no socket is not taken', () => {
  const fd = openSync(join(directory, 'plain'), 'w');
  try {
    expect(() => takeConnection(placeOf(fd))).toThrow(/another one/);
  } finally {
    closeSync(fd);
  }
  expect(() => takeConnection({ pid: process.pid, fd: 19_999, inode: 1 })).toThrow(/taking descriptor/);
});
