import { read, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { invalid } from '@tessera/shared/errors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Lendable } from '../streams/index.js';
import { json, type Route, route, type UploadRequest } from './route.js';
import type { RawClient } from './testing/raw-client.js';
import { RawServer } from './testing/raw-server.js';

// A connection that an agent works on in between: here the test itself, by its descriptor.

let server: RawServer;
let client: RawClient;
let uploaded: (request: UploadRequest) => Promise<unknown>;
let written: (connection: Lendable) => Promise<void>;

const routes: Route[] = [
  {
    kind: 'upload',
    method: 'PUT',
    pattern: '/up',
    lends: true,
    handle: async (request) => json(200, { uploaded: await uploaded(request) }),
  },
  {
    kind: 'stream',
    method: 'GET',
    pattern: '/down',
    handle: async ({ connection }) => ({
      contentType: 'application/x-tar',
      early: true,
      chunks: () => written(connection!),
    }),
  },
  {
    kind: 'stream',
    method: 'GET',
    pattern: '/slow',
    handle: async ({ signal }) => ({
      contentType: 'text/plain',
      early: true,
      chunks: (async function* () {
        yield 'begun';
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      })(),
    }),
  },
  route('GET', '/plain', async () => json(200, { text: 'plain' })),
];

beforeEach(async () => {
  server = await RawServer.start(routes);
  client = await server.connect();
});
afterEach(async () => {
  client.destroy();
  await server.close();
});

const UP = 'PUT /up HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n';
const BODY = '5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n';

const rest = async (from: RawClient) => (await from.rest()).toString();

/** What comes on a descriptor that does not block, up to the end of a body. */
async function readBody(fd: number, head: Uint8Array): Promise<string> {
  let text = Buffer.from(head).toString();
  const buffer = Buffer.alloc(1024);
  while (!text.endsWith('0\r\n\r\n')) {
    const { bytesRead } = await promisify(read)(fd, buffer, 0, buffer.length, null).catch(() => ({
      bytesRead: 0,
    }));
    text += buffer.toString('utf8', 0, bytesRead);
    await new Promise(setImmediate);
  }
  return text;
}
async function contentOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

describe('the body of a request', () => {
  test('is found on its connection: what had come before, and what comes then, but for nothing', async () => {
    let lend = () => {};
    const lent = new Promise<void>((resolve) => {
      lend = resolve;
    });
    uploaded = async ({ content: { connection } }) => {
      const { fd, head, pid, bodyBytes } = connection!.lend();
      expect([pid, bodyBytes]).toEqual([process.pid, undefined]);
      lend();
      const body = await readBody(fd, head);
      connection!.takeBack(false);
      return body;
    };

    client.write(UP + BODY.slice(0, 7));
    await lent;
    client.write(BODY.slice(7));

    const answer = await rest(client);
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(answer).toContain('Connection: close');
    expect(answer).toContain(JSON.stringify(BODY));
  });

  test('that nobody has taken is read here, whole', async () => {
    uploaded = async ({ content }) => {
      content.connection!.lend();
      content.connection!.takeBack(true);
      return contentOf(content);
    };

    client.write(UP + BODY.slice(0, 12));
    client.write(BODY.slice(12));

    expect(await rest(client)).toContain('"firstsecond"');
  });

  test('that is too long to be read before it is refused leaves room for the answer', async () => {
    uploaded = async ({ content }) => {
      content.connection!.lend();
      content.connection!.takeBack(false);
      throw invalid('not taken');
    };

    client.write(UP);
    for (let count = 0; count < 200; count++) client.write(`8000\r\n${'x'.repeat(0x8000)}\r\n`);

    expect(await rest(client)).toMatch(/^HTTP\/1.1 400 [\s\S]*not taken/);
  });

  test('by its length says so', async () => {
    uploaded = async ({ content }) => {
      const { bodyBytes } = content.connection!.lend();
      content.connection!.takeBack(true);
      return { bodyBytes, text: await contentOf(content) };
    };

    client.write('PUT /up HTTP/1.1\r\nHost: docker\r\nContent-Length: 4\r\n\r\nbody');

    expect(await rest(client)).toContain('{"bodyBytes":4,"text":"body"}');
  });

  test('that has been read leaves the end of its client to be noticed', async () => {
    let gone: unknown;
    uploaded = async ({ content, signal }) => {
      const { fd, head } = content.connection!.lend();
      await readBody(fd, head);
      content.connection!.takeBack(false);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      gone = signal.reason;
    };

    client.write(UP + BODY);
    client.destroy();

    await expect.poll(() => gone).toMatchObject({ kind: 'cancelled' });
  });

  test('of a request behind an answer under way is not taken from it', async () => {
    uploaded = async ({ content }) => contentOf(content);

    client.write(`GET /slow HTTP/1.1\r\nHost: docker\r\n\r\n${UP}${BODY}`);

    await client.saw('begun');
    client.destroy();
    const next = await server.connect();
    next.write('GET /plain HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n');
    expect(await rest(next)).toContain('"plain"');
  });
});

describe('the body of an answer', () => {
  test('goes behind the head, and the connection serves the next request', async () => {
    written = async (connection) => {
      writeSync(connection.lend().fd, '5\r\nbytes\r\n');
    };

    client.write('GET /down HTTP/1.1\r\nHost: docker\r\n\r\n');
    await client.saw('0\r\n\r\n');
    client.write('GET /plain HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n');

    const answers = await rest(client);
    expect(answers).toMatch(
      /^HTTP\/1.1 200 OK\r\n[\s\S]*Transfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n0\r\n\r\nHTTP\/1.1 200/,
    );
    expect(answers).toContain('"plain"');
  });

  test('that fails half way ends without its last chunk', async () => {
    written = async (connection) => {
      writeSync(connection.lend().fd, '5\r\nbytes\r\n');
      throw invalid('broken');
    };

    client.write('GET /down HTTP/1.1\r\nHost: docker\r\n\r\n');

    expect(await rest(client)).toMatch(/5\r\nbytes\r\n$/);
  });
});
