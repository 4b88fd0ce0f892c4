import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority, Signer } from '../ca/signer.js';
import { parseConfig } from '../config.js';
import { EtcdKv } from '../store/kv/etcd-kv.js';
import { type EtcdTlsFiles, readEtcdTls } from './external-etcd.js';

// An etcd of somebody else's, which asks for client certificates of its own authority.

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };
let directory: string;
let etcd: ChildProcess;
let endpoint: string;
const certificates: Record<'etcd' | 'manager' | 'worker', EtcdTlsFiles> = {} as never;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-external-etcd-'));
  const authority = await createAuthority('etcd', systemClock, systemRandom);
  const cluster = await createAuthority('cluster', systemClock, systemRandom);
  certificates.etcd = await issue('etcd', authority, authority.caCertPem);
  certificates.manager = await issue('manager', authority, authority.caCertPem);
  // A worker of the cluster holds a certificate of the cluster's authority, which etcd does not know.
  certificates.worker = await issue('worker', cluster, authority.caCertPem);
  endpoint = `https://127.0.0.1:${await freePort()}`;
  etcd = startEtcd();
  await until(() => answers(certificates.manager));
}, 90_000);
afterAll(async () => {
  etcd?.kill('SIGKILL');
  if (etcd) await once(etcd, 'exit');
  rmSync(directory, { recursive: true, force: true });
});

async function issue(
  name: string,
  authority: Awaited<ReturnType<typeof createAuthority>>,
  trusted: string,
): Promise<EtcdTlsFiles> {
  const signer = await Signer.open(authority, name, systemClock, systemRandom);
  const { certPem, keyPem } = await signer.issue({
    commonName: name,
    unit: name,
    validDays: 1,
    usages: ['client', 'server'],
    alternativeNames: ['127.0.0.1'],
  });
  const folder = join(directory, name);
  mkdirSync(folder);
  const files = {
    caFile: join(folder, 'ca.pem'),
    certFile: join(folder, 'cert.pem'),
    keyFile: join(folder, 'key.pem'),
  };
  writeFileSync(files.caFile, trusted);
  writeFileSync(files.certFile, certPem);
  writeFileSync(files.keyFile, keyPem, { mode: 0o600 });
  return files;
}

function startEtcd(): ChildProcess {
  const { caFile, certFile, keyFile } = certificates.etcd;
  const flags = [
    `--data-dir=${join(directory, 'data')}`,
    `--listen-client-urls=${endpoint}`,
    `--advertise-client-urls=${endpoint}`,
    '--listen-peer-urls=unix://peer:0',
    '--client-cert-auth',
    `--trusted-ca-file=${caFile}`,
    `--cert-file=${certFile}`,
    `--key-file=${keyFile}`,
  ];
  // It must not outlive a test that is killed.
  const args = ['--pdeathsig', 'KILL', '--', '/usr/bin/etcd', ...flags];
  return spawn('setpriv', args, { cwd: directory, stdio: 'ignore' });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(files: EtcdTlsFiles): Promise<boolean> {
  const kv = new EtcdKv(env, { endpoints: [endpoint], tls: readEtcdTls(files), callTimeoutMs: 2_000 });
  try {
    await kv.range({ key: '/' });
    return true;
  } catch (error) {
    expect(error).toMatchObject({ kind: 'unavailable' });
    return false;
  } finally {
    kv.close();
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(systemClock, 100);
}

test('a manager reaches an etcd of its own authority, a worker with its own certificate does not', async () => {
  expect(await answers(certificates.manager)).toBe(true);
  expect(await answers(certificates.worker)).toBe(false);
  expect(await answers({ caFile: certificates.manager.caFile })).toBe(false);
  expect(await answers(certificates.manager)).toBe(true);
}, 60_000);

test('an etcd of another authority is not believed', async () => {
  const other = await createAuthority('other', systemClock, systemRandom);
  const caFile = join(directory, 'other.pem');
  writeFileSync(caFile, other.caCertPem);

  expect(await answers({ ...certificates.manager, caFile })).toBe(false);
});

test('a certificate file that is missing or holds something else is named by its flag', () => {
  const { caFile, keyFile } = certificates.manager;

  expect(() => readEtcdTls({ caFile: '/nonexistent/ca.pem' })).toThrow('--etcd-cacert: ENOENT');
  writeFileSync(join(directory, 'junk'), 'junk');
  expect(() => readEtcdTls({ caFile, certFile: join(directory, 'junk'), keyFile: keyFile! })).toThrow(
    '--etcd-cert',
  );
});

test('the flags of an external etcd go together', () => {
  const flags = [
    ...['--data-dir=/d', '--run-dir=/r', '--node-dir=/n', '--hostname=h', '--etcd-endpoints=https://h:2379'],
    ...['--listen-addr=10.0.0.1:2377', '--advertise-addr=10.0.0.1:2377'],
  ];

  expect(parseConfig(flags).etcdTls).toBeUndefined();
  expect(parseConfig([...flags, '--etcd-cacert=/ca', '--etcd-cert=/c', '--etcd-key=/k']).etcdTls).toEqual({
    caFile: '/ca',
    certFile: '/c',
    keyFile: '/k',
  });
  expect(() => parseConfig([...flags, '--etcd-cacert=/ca', '--etcd-cert=/c'])).toThrow('--etcd-key');
  expect(() => parseConfig([...flags, '--etcd-cert=/c', '--etcd-key=/k'])).toThrow('--etcd-cacert');
});
