import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readConfig } from '../config.js';
import { ApiClient } from './api-client.js';
import { resolveEndpoint } from './endpoint.js';

let certPath: string;
let port: number;
let close: () => Promise<void>;
beforeEach(async () => {
  certPath = await mkdtemp(join(tmpdir(), 'tsctl-tls-'));
  const authority = await TestAuthority.create();
  const serving = await authority.issue({ nodeId: 'server', role: 'manager' });
  const client = await authority.issue({ nodeId: 'alice', role: 'worker' });
  const server = createServer(
    { key: serving.keyPem, cert: serving.certPem, ca: authority.caCertPem, requestCert: true },
    (request, response) => response.end(JSON.stringify([request.url])),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  await writeFile(join(certPath, 'ca.pem'), authority.caCertPem);
  await writeFile(join(certPath, 'cert.pem'), client.certPem);
  await writeFile(join(certPath, 'key.pem'), client.keyPem);
  close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(certPath, { recursive: true });
  };
});
afterEach(() => close());

const clientOf = (host: string, flags: object = {}) => {
  const config = readConfig({ TSCTL_HOST: host, TSCTL_CERT_PATH: certPath });
  return new ApiClient(resolveEndpoint(flags, config), new AbortController().signal);
};

test('over TLS both ends show a certificate of the cluster', async () => {
  expect(await clientOf(`tcp://127.0.0.1:${port}`).get('/nodes')).toEqual(['/v1.50/nodes']);
});

test("a server whose certificate is another host's is not talked to", async () => {
  await expect(clientOf(`tcp://localhost:${port}`).get('/nodes')).rejects.toThrow('altnames');
});

test('a server of another authority is not talked to', async () => {
  const other = await TestAuthority.create();
  const tlscacert = join(certPath, 'other.pem');
  await writeFile(tlscacert, other.caCertPem);

  await expect(clientOf(`tcp://127.0.0.1:${port}`, { tlscacert }).get('/nodes')).rejects.toThrow(
    'error during connect',
  );
});
