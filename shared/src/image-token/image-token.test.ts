import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { TestAuthority, type TestIdentity } from '../testing/certificates/index.js';
import { signImageToken, verifyImageToken } from './index.js';

const NOW = 1_800_000_000_000;
const PAYLOAD = { nodeId: 'node-1', imageId: 'sha256:abc', expiresAtMs: NOW + 60_000 };

let caPem: string;
let otherCaPem: string;
let manager: TestIdentity;
let worker: TestIdentity;
let expired: TestIdentity;

beforeAll(async () => {
  const authority = await TestAuthority.create();
  caPem = authority.caCertPem;
  otherCaPem = (await TestAuthority.create()).caCertPem;
  manager = await authority.issue({ nodeId: 'node-9', role: 'manager' });
  worker = await authority.issue({ nodeId: 'node-9', role: 'worker' });
  expired = await authority.issue({ nodeId: 'node-9', role: 'manager', notAfter: new Date(NOW - 1e9) });
});

test('a token signed by a manager says who may fetch what', () => {
  const token = signImageToken(PAYLOAD, manager.keyPem, manager.certPem);

  expect(verifyImageToken(token, caPem, NOW)).toEqual(PAYLOAD);
});

test('a token is refused once it has expired', () => {
  const token = signImageToken(PAYLOAD, manager.keyPem, manager.certPem);

  expect(() => verifyImageToken(token, caPem, PAYLOAD.expiresAtMs)).toThrow('it has expired');
});

test('a worker cannot sign a token, nor a manager of another cluster or of the past', () => {
  const byWorker = signImageToken(PAYLOAD, worker.keyPem, worker.certPem);
  const byManager = signImageToken(PAYLOAD, manager.keyPem, manager.certPem);
  const byExpired = signImageToken(PAYLOAD, expired.keyPem, expired.certPem);

  expect(() => verifyImageToken(byWorker, caPem, NOW)).toThrow('not a manager');
  expect(() => verifyImageToken(byManager, otherCaPem, NOW)).toThrow('not of this cluster');
  expect(() => verifyImageToken(byExpired, caPem, NOW)).toThrow('signer has expired');
});

test('a changed payload or a foreign key breaks the signature', () => {
  const [, signature, certificate] = signImageToken(PAYLOAD, manager.keyPem, manager.certPem).split('.');
  const forged = Buffer.from(JSON.stringify({ ...PAYLOAD, imageId: 'sha256:other' })).toString('base64url');
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const foreignPem = foreign.export({ type: 'pkcs8', format: 'pem' }).toString();
  const byForeignKey = signImageToken(PAYLOAD, foreignPem, manager.certPem);

  expect(() => verifyImageToken(`${forged}.${signature}.${certificate}`, caPem, NOW)).toThrow('signature');
  expect(() => verifyImageToken(byForeignKey, caPem, NOW)).toThrow('signature');
});

test('what is no token is refused', () => {
  for (const text of ['', 'a.b', 'a.b.c', '....', 'é.é.é']) {
    expect(() => verifyImageToken(text, caPem, NOW)).toThrow('image token refused');
  }
});
