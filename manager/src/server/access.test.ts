import { Agent, createServer as createTlsServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { systemClock, systemRandom } from '@tessera/shared/env';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuthority, Signer, UNITS } from '../ca/index.js';
import { apiRoutes, createApiServer } from './index.js';
import { ApiFixture } from './testing/api-fixture.js';

/** Keeps its connection, so that each identity shakes hands once. */
type Caller = Agent;

let fixture: ApiFixture;
let port: number;
let caCertPem: string;
let close: () => Promise<void>;
const callers = new Map<string, Caller>();

beforeAll(async () => {
  fixture = await ApiFixture.start();
  const authority = await createAuthority('cluster-1', systemClock, systemRandom);
  const foreign = await createAuthority('cluster-1', systemClock, systemRandom);
  caCertPem = authority.caCertPem;
  const signer = await Signer.open(authority, 'cluster-1', systemClock, systemRandom);
  const issue = async (from: Signer, unit: string, usage: 'client' | 'server') => {
    const { keyPem, certPem } = await from.issue({
      commonName: `a-${unit}`,
      unit,
      validDays: 1,
      usages: [usage],
      alternativeNames: ['127.0.0.1'],
    });
    return { key: keyPem, cert: certPem };
  };
  const caller = (identity: object) =>
    new Agent({ keepAlive: true, maxSockets: 1, ca: caCertPem, ...identity });
  for (const unit of Object.values(UNITS)) callers.set(unit, caller(await issue(signer, unit, 'client')));
  const foreignSigner = await Signer.open(foreign, 'cluster-1', systemClock, systemRandom);
  callers.set('foreign', caller(await issue(foreignSigner, UNITS.client, 'client')));
  callers.set('nobody', caller({}));

  const api = createApiServer(fixture.deps);
  const server = createTlsServer(
    {
      allowHalfOpen: true,
      ...(await issue(signer, UNITS.server, 'server')),
      ca: caCertPem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    api,
  );
  api.prepare(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  close = async () => {
    for (const agent of callers.values()) agent.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await fixture[Symbol.asyncDispose]();
  };
});
afterAll(() => close());

const ask = (
  method: string,
  path: string,
  who: string,
  headers: object = {},
  body?: Buffer,
): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const agent = callers.get(who)!;
    const options = { host: '127.0.0.1', port, method, path, agent, headers: { ...headers } };
    const sent = request(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });

const allRoutes = () =>
  apiRoutes(fixture.deps).map(({ kind, method, pattern }) => ({
    kind,
    method,
    path: pattern.replace(/:\w+/g, 'x'),
  }));

/** What is said to a request that asks for its connection, byte for byte: Node's client would look at the answer. */
function askForUpgrade(method: string, path: string, who: string, protocol: string): Promise<string> {
  const { key, cert } = (callers.get(who) as Agent).options;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca: caCertPem, ...(key && cert && { key, cert }) });
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.write(
      [
        `${method} ${path} HTTP/1.1`,
        'Host: docker',
        'Connection: Upgrade',
        `Upgrade: ${protocol}`,
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Content-Length: 0',
        '\r\n',
      ].join('\r\n'),
    );
  });
}

describe('over TLS', () => {
  test("no route at all answers a worker's or a manager's certificate", async () => {
    const answers = [];
    for (const unit of [UNITS.worker, UNITS.manager, UNITS.server]) {
      for (const { method, path } of allRoutes()) {
        const { status, text } = await ask(method, path, unit);
        const isRefusal = status === 403 && (method === 'HEAD' || text.includes('may not use the API'));
        if (!isRefusal) answers.push(`${unit} ${method} ${path}: ${status} ${text}`);
      }
    }

    expect(allRoutes().length).toBeGreaterThan(30);
    expect(answers).toEqual([]);
  });

  test('no route answers a stranger, with or without a certificate of another authority', async () => {
    for (const who of ['nobody', 'foreign']) {
      for (const { method, path } of allRoutes()) {
        expect(await ask(method, path, who)).toMatchObject({ status: 401 });
      }
    }
  });

  test('no route that takes its connection over does so for anybody else', async () => {
    const takers = allRoutes().filter(({ kind }) => kind === 'hijack' || kind === 'websocket');
    const refusals = new Map([
      ['nobody', 401],
      ['foreign', 401],
      [UNITS.worker, 403],
      [UNITS.manager, 403],
      [UNITS.server, 403],
    ]);
    for (const { kind, method, path } of takers) {
      const protocol = kind === 'hijack' ? 'tcp' : 'websocket';
      for (const [who, status] of refusals)
        expect([path, who, await askForUpgrade(method, path, who, protocol)]).toEqual([
          path,
          who,
          expect.stringMatching(new RegExp(`^HTTP/1.1 ${status} `)),
        ]);
    }

    expect(takers.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['/containers/x/attach', '/containers/x/attach/ws', '/exec/x/start']),
    );
    const kinds = new Set(allRoutes().map(({ kind }) => kind));
    expect(kinds).toEqual(new Set(['json', 'stream', 'upload', 'hijack', 'websocket']));
  });

  test('nobody else’s upload is read, nor does an empty, chunked or missing body change who may ask (CVE-2024-41110)', async () => {
    const uploads = allRoutes().filter(({ kind }) => kind === 'upload');
    const bodies: readonly [object, Buffer | undefined][] = [
      [{ 'content-length': '0' }, undefined],
      [{ 'transfer-encoding': 'chunked', 'content-type': 'application/json' }, Buffer.from('{}')],
      [{ 'content-type': 'application/x-tar' }, Buffer.alloc(300_000)],
    ];
    for (const { method, path } of [...uploads, { method: 'POST', path: '/containers/create' }])
      for (const [headers, body] of bodies)
        for (const [who, status] of [
          ['nobody', 401],
          [UNITS.worker, 403],
        ] as const)
          expect([path, who, (await ask(method, path, who, headers, body)).status]).toEqual([
            path,
            who,
            status,
          ]);

    expect(uploads.map(({ path }) => path)).toContain('/images/load');
    expect(fixture.store.view().containers.size).toBe(0);
  });

  test('a client certificate may ask for anything', async () => {
    expect(await ask('GET', '/_ping', UNITS.client)).toEqual({ status: 200, text: 'OK' });
    expect(await ask('GET', '/nodes', UNITS.client)).toMatchObject({ status: 200 });
  });
});
