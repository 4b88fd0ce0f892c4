import { Agent, createServer as createTlsServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
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

const ask = (method: string, path: string, who: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, agent: callers.get(who)! }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end();
  });

const allRoutes = () =>
  apiRoutes(fixture.deps).map(({ method, pattern }) => [method, pattern.replace(/:\w+/, 'x')] as const);

describe('over TLS', () => {
  test("no route at all answers a worker's or a manager's certificate", async () => {
    const answers = [];
    for (const unit of [UNITS.worker, UNITS.manager, UNITS.server]) {
      for (const [method, path] of allRoutes()) {
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
      for (const [method, path] of allRoutes()) {
        expect(await ask(method, path, who)).toMatchObject({ status: 401 });
      }
    }
  });

  test('a client certificate may ask for anything', async () => {
    expect(await ask('GET', '/_ping', UNITS.client)).toEqual({ status: 200, text: 'OK' });
    expect(await ask('GET', '/nodes', UNITS.client)).toMatchObject({ status: 200 });
  });
});
