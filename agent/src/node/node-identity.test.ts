import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeDirectory } from './node-identity.js';
import { newSigningRequest } from './signing-request.js';

let dir: string;
let directory: NodeDirectory;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-node-'));
  directory = new NodeDirectory(join(dir, 'node'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const IDENTITY = {
  nodeId: 'n',
  clusterId: 'c',
  role: 'worker',
  managerAddrs: ['a:1'],
  incarnation: 2,
} as const;

test('an identity is found again, and a node without one is in no cluster', () => {
  expect(directory.identity()).toBeUndefined();

  directory.writeIdentity({ ...IDENTITY, managerAddrs: ['a:1'] });

  expect(directory.identity()).toEqual(IDENTITY);
});

test('files of the node are for root alone', () => {
  directory.writeRequest('key', 'csr');
  directory.writeCertificates('cert', 'ca', '{}');

  expect(statSync(directory.path).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(directory.path))
    expect(statSync(join(directory.path, name)).mode & 0o777).toBe(0o600);
});

test('a damaged identity is named instead of being taken for none', () => {
  directory.writeIdentity({ ...IDENTITY, managerAddrs: [] });
  writeFileSync(join(directory.path, 'identity.json'), '{"nodeId": ""}');

  expect(() => directory.identity()).toThrow('identity.json is damaged');
});

test('leaving forgets everything', () => {
  directory.writeRequest('key', 'csr');
  directory.writeIdentity({ ...IDENTITY, managerAddrs: [] });

  directory.clear();

  expect(readdirSync(dir)).toEqual([]);
});

test('a request made again for a pending key asks for the same identity', async () => {
  const authority = await TestAuthority.create();
  const first = await newSigningRequest();
  const again = await newSigningRequest(first.keyPem);

  expect(again.keyPem).toBe(first.keyPem);
  const certificate = new X509Certificate(
    await authority.issueFor(again.csrPem, { nodeId: 'n', role: 'worker' }),
  );
  expect(certificate.publicKey.equals(createPublicKey(first.keyPem))).toBe(true);
});
