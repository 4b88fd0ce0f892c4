import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { json, type Route, route } from './route.js';
import type { RawClient } from './testing/raw-client.js';
import { RawServer } from './testing/raw-server.js';

// Byte by byte what clients send when they take a connection over, to the server without anything behind it.

const BODY = '{"Detach":false}';
const HEAD = ['POST /take HTTP/1.1', 'Host: docker'];
const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const JSON_TYPE = 'Content-Type: application/json';
const LENGTH = `Content-Length: ${BODY.length}`;

let server: RawServer;
let client: RawClient;

/** Says which body came, then repeats what follows it until there is no more. */
const routes: Route[] = [
  {
    kind: 'hijack',
    method: 'POST',
    pattern: '/take',
    handle: async ({ body }) => ({
      contentType: 'application/vnd.docker.multiplexed-stream',
      serve: async ({ input, write }) => {
        await write(Buffer.from(`body ${JSON.stringify(body ?? null)}\n`));
        for await (const chunk of input) await write(chunk);
        await write(Buffer.from('|end'));
      },
    }),
  },
  route('GET', '/plain', async () => json(200, 'plain')),
];

beforeEach(async () => {
  server = await RawServer.start(routes);
  client = await server.connect();
});
afterEach(async () => {
  client.destroy();
  await server.close();
});

const message = (lines: readonly string[], behind = '') => `${lines.join('\r\n')}\r\n\r\n${behind}`;
const statusOf = (head: string) => head.split('\r\n')[0];
const chunked = (...parts: string[]) =>
  [...parts, '']
    .map((part) => (part === '' ? '0\r\n\r\n' : `${part.length.toString(16)}\r\n${part}\r\n`))
    .join('');

describe('what is behind the head', () => {
  test.each([
    ['a body by its length', [...HEAD, ...UPGRADE, JSON_TYPE, LENGTH], BODY],
    ['a body in one chunk', [...HEAD, ...UPGRADE, JSON_TYPE, 'Transfer-Encoding: chunked'], chunked(BODY)],
    [
      'a body in several chunks',
      [...HEAD, ...UPGRADE, JSON_TYPE, 'Transfer-Encoding: chunked'],
      chunked(BODY.slice(0, 5), BODY.slice(5)),
    ],
    [
      'chunks with an extension and trailers',
      [...HEAD, ...UPGRADE, JSON_TYPE, 'Transfer-Encoding: Chunked'],
      `${BODY.length.toString(16)};name=value\r\n${BODY}\r\n0\r\nX-Trailer: 1\r\n\r\n`,
    ],
  ])('%s ends where it ends, and stdin follows at once', async (_what, lines, body) => {
    client.write(message(lines, `${body}typed ahead`));
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 101 UPGRADED');
    expect((await client.rest()).toString()).toBe(`body ${BODY}\ntyped ahead|end`);
  });

  test.each([
    ['by its length', LENGTH, BODY],
    ['in chunks', 'Transfer-Encoding: chunked', chunked(BODY)],
  ])('a body %s may come a byte at a time', async (_what, header, body) => {
    for (const byte of message([...HEAD, ...UPGRADE, JSON_TYPE, header], `${body}ahead`)) {
      client.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 101 UPGRADED');
    expect((await client.rest()).toString()).toBe(`body ${BODY}\nahead|end`);
  });

  test('no body at all: everything is stdin', async () => {
    client.write(message([...HEAD, ...UPGRADE], 'POST /take HTTP/1.1\r\n\r\n'));
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 101 UPGRADED');
    expect((await client.rest()).toString()).toBe('body null\nPOST /take HTTP/1.1\r\n\r\n|end');
  });
});

describe('the answer', () => {
  test('without an Upgrade header is 200, with a body and with stdin behind it', async () => {
    client.write(message([...HEAD, JSON_TYPE, LENGTH], `${BODY}typed`));
    client.halfClose();

    const head = await client.head();
    expect(statusOf(head)).toBe('HTTP/1.1 200 OK');
    expect(head).not.toMatch(/^(Upgrade|Transfer-Encoding|Content-Length):/im);
    expect((await client.rest()).toString()).toBe(`body ${BODY}\ntyped|end`);
  });

  test('to HTTP/1.0 is the same stream, until its end', async () => {
    client.write(message(['POST /take HTTP/1.0', JSON_TYPE, LENGTH], `${BODY}typed`));
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 200 OK');
    expect((await client.rest()).toString()).toBe(`body ${BODY}\ntyped|end`);
  });

  test('goes on after the client has closed its half, and ends with the stream', async () => {
    client.write(message([...HEAD, ...UPGRADE]));
    await client.head();
    await client.saw('body null\n');
    client.write('late');
    client.halfClose();

    expect((await client.rest()).toString()).toBe('body null\nlate|end');
  });

  test('a request before it on the same connection is answered as any other', async () => {
    client.write(message(['GET /plain HTTP/1.1', 'Host: docker']));
    await client.saw('plain');
    await client.head();
    await client.bytes('plain'.length);
    client.write(message([...HEAD, ...UPGRADE, JSON_TYPE, LENGTH], `${BODY}typed`));
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 101 UPGRADED');
    expect((await client.rest()).toString()).toBe(`body ${BODY}\ntyped|end`);
  });
});

describe('refused is', () => {
  test.each([
    ['two lengths', [LENGTH, 'Content-Length: 3'], BODY],
    ['the same length twice', [LENGTH, LENGTH], BODY],
    ['a length that is no number', ['Content-Length: 0x10'], BODY],
    ['a length below zero', ['Content-Length: -1'], BODY],
    ['a length and chunks', [LENGTH, 'Transfer-Encoding: chunked'], chunked(BODY)],
    ['chunks of another coding', ['Transfer-Encoding: gzip, chunked'], chunked(BODY)],
    ['a chunk whose length is none', ['Transfer-Encoding: chunked'], `nine\r\n${BODY}\r\n0\r\n\r\n`],
    [
      'a chunk whose length is only begun by one',
      ['Transfer-Encoding: chunked'],
      `10zz\r\n${BODY}\r\n0\r\n\r\n`,
    ],
    ['a chunk that is longer than it says', ['Transfer-Encoding: chunked'], `3\r\n${BODY}\r\n0\r\n\r\n`],
    ['a chunk larger than any body', ['Transfer-Encoding: chunked'], 'fffffff\r\n'],
    ['a body cut short', [LENGTH], BODY.slice(1)],
  ])('%s, and the connection ends', async (_what, headers, body) => {
    client.write(message([...HEAD, ...UPGRADE, JSON_TYPE, ...headers], body));
    client.halfClose();

    expect(statusOf(await client.head())).toBe('HTTP/1.1 400 Bad Request');
    expect((await client.rest()).toString()).not.toContain('|end');
  });
});
