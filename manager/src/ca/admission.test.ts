import { X509Certificate } from 'node:crypto';
import { systemRandom } from '@tessera/shared/env';
import { formatJoinToken, newJoinSecret } from '@tessera/shared/join-token';
import { Cluster } from '@tessera/shared/model';
import { FakeClock } from '@tessera/shared/testing';
import { JoinRequest } from '@tessera/shared/wire';
import { beforeEach, describe, expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import { Admission, CertificateAuthority, createAuthority, newJoinTokens } from './index.js';
import { aNodeKey, type TestNodeKey } from './testing/index.js';

const DAY_MS = 86_400_000;

let clock: FakeClock;
let store: MemoryStore;
let admission: Admission;
let cluster: Cluster;

beforeEach(async () => {
  clock = new FakeClock(1_800_000_000_000);
  store = await openMemoryStore(clock);
  const keys = await createAuthority('cluster-1', clock, systemRandom);
  const joinTokens = newJoinTokens(keys.caCertPem, systemRandom);
  cluster = Cluster.create({ id: 'cluster-1', incarnation: 1, ...keys, joinTokens });
  await store.update((tx) => tx.put('cluster', cluster));
  admission = new Admission(store, clock, systemRandom, {
    managerAddrs: () => ['10.0.0.1:2377'],
    managerBootstrap: async () => 'bootstrap',
  });
});

const join = (key: TestNodeKey, role: 'worker' | 'manager' = 'worker', more: Partial<JoinRequest> = {}) =>
  admission.join({
    ...JoinRequest.create({ csrPem: key.csrPem, hostname: 'host2' }),
    token: cluster.joinTokens![role],
    ...more,
  });

const fieldsOf = (certPem: string) => new X509Certificate(certPem).subject.split('\n').sort();

describe('joining', () => {
  test('a worker gets a certificate that says who it is, from the CA whose digest its token has', async () => {
    const answer = await join(await aNodeKey(), 'worker', { availability: 'drain' });

    const certificate = new X509Certificate(answer.certPem);
    expect(fieldsOf(answer.certPem)).toEqual([`CN=${answer.nodeId}`, 'O=cluster-1', 'OU=tessera-worker']);
    expect(certificate.subjectAltName).toBe(`DNS:tessera-worker, DNS:${answer.nodeId}`);
    expect(certificate.checkIssued(new X509Certificate(answer.caCertPem))).toBe(true);
    expect(certificate.verify(new X509Certificate(answer.caCertPem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo) - clock.now()).toBe(90 * DAY_MS);
    expect(answer).toMatchObject({ role: 'worker', managerAddrs: ['10.0.0.1:2377'], managerBootstrap: '' });
    expect(store.view().nodes.get(answer.nodeId)).toMatchObject({
      name: 'host2',
      role: 'worker',
      availability: 'drain',
    });
  });

  test("a manager's token makes a manager, and hands it what its manager needs", async () => {
    const answer = await join(await aNodeKey(), 'manager');

    expect(fieldsOf(answer.certPem)).toContain('OU=tessera-manager');
    expect(answer.managerBootstrap).toBe('bootstrap');
    expect(store.view().nodes.get(answer.nodeId)?.role).toBe('manager');
  });

  test('the same key joins as the same node, and what was said of it since stays', async () => {
    const key = await aNodeKey();
    const first = await join(key);
    await store.update((tx) =>
      tx.put('nodes', { ...tx.nodes.get(first.nodeId)!, labels: { zone: 'a' }, availability: 'pause' }),
    );

    const again = await join(key, 'worker', { hostname: 'renamed' });

    expect(again.nodeId).toBe(first.nodeId);
    expect(store.view().nodes.size).toBe(1);
    expect(store.view().nodes.get(first.nodeId)).toMatchObject({
      name: 'host2',
      labels: { zone: 'a' },
      availability: 'pause',
    });
  });

  test("a worker's token does not demote a manager that joins again", async () => {
    const key = await aNodeKey();
    await join(key, 'manager');

    const again = await join(key, 'worker');

    expect(again.role).toBe('manager');
  });

  test('another key is another node, whatever name it gives', async () => {
    const [one, two] = [await join(await aNodeKey()), await join(await aNodeKey())];

    expect(one.nodeId).not.toBe(two.nodeId);
    expect(one.nodeId).toMatch(/^[0-9a-z]{25}$/);
  });

  test('a wrong token is refused, and the refusal does not say what the right one is', async () => {
    const wrong = formatJoinToken(cluster.caCertPem, newJoinSecret(systemRandom));

    const refusal = await join(await aNodeKey(), 'worker', { token: wrong }).catch((error) => error);

    expect(refusal).toMatchObject({ kind: 'permissionDenied' });
    for (const token of Object.values(cluster.joinTokens!)) expect(refusal.message).not.toContain(token);
    expect(store.view().nodes.size).toBe(0);
  });

  test('a rotated token no longer lets anybody in', async () => {
    const key = await aNodeKey();
    const joinTokens = newJoinTokens(cluster.caCertPem, systemRandom);
    await store.update((tx) => tx.put('cluster', { ...cluster, joinTokens }));

    await expect(join(key)).rejects.toMatchObject({ kind: 'permissionDenied' });
  });

  test('what is no signing request, or is signed by another key than it names, is refused', async () => {
    const { csrPem } = await aNodeKey();
    const der = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // The last bytes are the signature's.
    der[der.length - 1]! ^= 1;
    const body = der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;

    for (const text of ['', 'nonsense', forged])
      await expect(join({ keyPem: '', csrPem: text })).rejects.toMatchObject({ kind: 'invalidArgument' });
    expect(store.view().nodes.size).toBe(0);
  });

  test('a host name that is none is refused', async () => {
    for (const hostname of ['', 'a b', 'a/b', 'x'.repeat(300), 'a,O=other'])
      await expect(join(await aNodeKey(), 'worker', { hostname })).rejects.toMatchObject({
        kind: 'invalidArgument',
      });
  });

  test('without a cluster there is nothing to join', async () => {
    await store.update((tx) => tx.delete('cluster', cluster.id));

    await expect(join(await aNodeKey())).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

describe('renewing', () => {
  test('a node gets a later certificate for itself, in the role it has now', async () => {
    const key = await aNodeKey();
    const { nodeId } = await join(key, 'manager');
    await store.update((tx) => tx.put('nodes', { ...tx.nodes.get(nodeId)!, role: 'worker' }));
    clock.advance(45 * DAY_MS);

    const renewed = await admission.renew(nodeId, key.csrPem);

    expect(fieldsOf(renewed.certPem)).toContain('OU=tessera-worker');
    expect(fieldsOf(renewed.certPem)).toContain(`CN=${nodeId}`);
    expect(Date.parse(new X509Certificate(renewed.certPem).validTo)).toBe(clock.now() + 90 * DAY_MS);
  });

  test('a removed node gets none', async () => {
    const key = await aNodeKey();
    const { nodeId } = await join(key);
    await store.update((tx) => tx.delete('nodes', nodeId));

    await expect(admission.renew(nodeId, key.csrPem)).rejects.toMatchObject({ kind: 'permissionDenied' });
  });
});

describe('certificates of users and of the API', () => {
  test("a user's certificate is of unit client and good for calling only", async () => {
    const authority = new CertificateAuthority(store, clock, systemRandom);

    const issued = await authority.issueClientCertificate({ name: 'alice', validDays: 30 });

    const certificate = new X509Certificate(issued.certPem);
    expect(fieldsOf(issued.certPem)).toEqual(['CN=alice', 'O=cluster-1', 'OU=client']);
    // RFC 5280, 4.2.1.12: id-kp-clientAuth.
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(Date.parse(certificate.validTo)).toBe(clock.now() + 30 * DAY_MS);
    expect(issued.keyPem).toContain('PRIVATE KEY');
  });

  test("the API's certificate is good for serving only, under its names", async () => {
    const authority = new CertificateAuthority(store, clock, systemRandom);

    const issued = await authority.issueServerCertificate('node-1', ['10.0.0.1', 'host1', '10.0.0.1']);

    const certificate = new X509Certificate(issued.certPem);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(certificate.checkIP('10.0.0.1')).toBe('10.0.0.1');
    expect(certificate.checkHost('host1')).toBe('host1');
  });

  test('a name cannot smuggle another unit in', async () => {
    const authority = new CertificateAuthority(store, clock, systemRandom);

    for (const name of ['', 'a, OU=tessera-manager', 'a+OU=x', 'x'.repeat(65)])
      await expect(authority.issueClientCertificate({ name })).rejects.toMatchObject({
        kind: 'invalidArgument',
      });
    await expect(authority.issueClientCertificate({ name: 'a', validDays: 0 })).rejects.toMatchObject({
      kind: 'invalidArgument',
    });
  });
});
