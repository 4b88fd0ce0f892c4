import { gzipSync } from 'node:zlib';
import { type Logger, silentLogger } from '@tessera/shared/env';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApiFixture } from './testing/api-fixture.js';
import { FakeContainers } from './testing/fake-containers.js';
import { RawClient } from './testing/raw-client.js';

// What requests have done to other servers, byte for byte, as no client library would send it.

const faults: object[] = [];
const logger: Logger = {
  ...silentLogger,
  error: (fields) => {
    faults.push(fields);
  },
  child: () => logger,
};
let fixture: ApiFixture;
let agents: FakeContainers;
beforeAll(async () => {
  fixture = await ApiFixture.start({ logger });
  agents = new FakeContainers(fixture);
  await fixture.addImage();
});
afterAll(async () => {
  agents[Symbol.dispose]();
  await fixture[Symbol.asyncDispose]();
});

/** Everything that is answered to these bytes. */
async function answers(...lines: readonly string[]): Promise<string> {
  const client = await RawClient.open(fixture.socketPath);
  client.write(lines.join('\r\n'));
  client.halfClose();
  return (await client.rest()).toString();
}
const statuses = (text: string) =>
  [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));

const SMUGGLED = ['GET /nodes HTTP/1.1', 'Host: smuggled', '', ''];

test.each([
  ['two lengths', ['Content-Length: 0', `Content-Length: ${SMUGGLED.join('\r\n').length}`]],
  ['a length and chunks', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
  ['chunks and a length', ['Transfer-Encoding: chunked', 'Content-Length: 5']],
  ['chunks under another name', ['Transfer-Encoding: xchunked']],
  ['chunks that are not the last encoding', ['Transfer-Encoding: chunked, identity']],
  ['a header that is folded', ['X-A: 1', ' Transfer-Encoding: chunked', 'Content-Length : 5']],
  ['a length that is no number', ['Content-Length: +5']],
])('%s are refused, and what follows is no request', async (_, headers) => {
  for (const path of ['/containers/create', '/containers/x/attach?stream=1']) {
    const text = await answers(`POST ${path} HTTP/1.1`, 'Host: docker', ...headers, '', '0', '', ...SMUGGLED);
    expect(statuses(text)).toEqual([400]);
  }
});

test('heads longer than 16 KiB, or in too many lines, are refused', async () => {
  const long = await answers('GET /_ping HTTP/1.1', 'Host: docker', `X-A: ${'x'.repeat(20_000)}`, '', '');
  const many = await answers('GET /_ping HTTP/1.1', ...Array<string>(8_000).fill('X-A: 1'), '', '');

  expect([statuses(long), statuses(many)]).toEqual([[431], [431]]);
});

const create = (body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
  fetchRaw(body, { 'Content-Type': 'application/json', ...headers });

async function fetchRaw(body: string | Uint8Array, headers: Readonly<Record<string, string>>) {
  const client = await RawClient.open(fixture.socketPath);
  const bytes = Buffer.from(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  client.write(
    [
      'POST /containers/create HTTP/1.1',
      'Host: docker',
      'Connection: close',
      `Content-Length: ${bytes.length}`,
      ...lines,
      '\r\n',
    ].join('\r\n'),
  );
  client.write(bytes);
  return (await client.rest()).toString();
}

test('a body that is compressed is not unpacked, so no small one is large', async () => {
  const bomb = gzipSync(Buffer.alloc(64 << 20));
  const text = await create(bomb, { 'Content-Encoding': 'gzip' });

  expect(statuses(text)).toEqual([400]);
  expect(text).toContain('invalid JSON');
});

test.each([
  ['arrays', `{"Image":"busybox","Labels":${'['.repeat(200_000)}${']'.repeat(200_000)}}`],
  ['objects', `{"Image":"busybox","HostConfig":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`],
  ['a field nobody knows', `{"Image":"busybox","Nobody":${'['.repeat(200_000)}${']'.repeat(200_000)}}`],
])('nesting without an end is refused, and no fault: %s', async (_, body) => {
  faults.length = 0;
  expect(statuses(await create(body))).toEqual([400]);
  expect(faults).toEqual([]);
});

test('names that mean something to JavaScript mean nothing here', async () => {
  faults.length = 0;
  const evil = '{"polluted":"yes","isAdmin":true}';
  for (const body of [
    `{"Image":"busybox","__proto__":${evil}}`,
    `{"Image":"busybox","constructor":{"prototype":${evil}}}`,
    `{"Image":"busybox","Labels":{"__proto__":"x","constructor":"y","toString":"z"}}`,
    `{"Image":"busybox","HostConfig":{"__proto__":${evil},"Sysctls":{"__proto__":"1"}}}`,
  ])
    await create(body);
  for (const name of ['__proto__', 'constructor', 'toString'])
    await fixture.call('GET', `/containers/json?filters=${encodeURIComponent(`{"${name}":["x"]}`)}`);

  expect({}).not.toHaveProperty('polluted');
  expect(faults).toEqual([]);
});
