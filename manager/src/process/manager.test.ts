import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { readLivePidFile } from '@tessera/shared/process';
import {
  type AgentMessage,
  CertificateAuthorityClient,
  DispatcherClient,
  type JoinResponse,
  type ManagerMessage,
  Register,
} from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { aNodeKey } from '../ca/testing/index.js';
import { parseConfig } from '../config.js';
import type { TlsIdentity } from '../rpc/index.js';
import { CHANNEL_OPTIONS, channelCredentials } from '../rpc/testing/index.js';
import { runManager } from './manager.js';

const LIMIT_MS = 60_000;
vi.setConfig({ testTimeout: 3 * LIMIT_MS, hookTimeout: 2 * LIMIT_MS });
/** A loopback address of this process alone, so that fixed ports are free on it. */
const HOST = `127.77.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const GRPC_ADDR = `${HOST}:2377`;
const API_PORT = 2376;

let dir: string;
const cleanup: (() => unknown)[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ts-manager-'));
  for (const name of ['run', 'node', 'manager']) mkdirSync(join(dir, name), { mode: 0o700 });
  const key = await aNodeKey();
  writeFileSync(join(dir, 'node', 'key.pem'), key.keyPem, { mode: 0o600 });
  writeFileSync(join(dir, 'node', 'csr.pem'), key.csrPem);
});
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
  const etcd = readLivePidFile(join(dir, 'run', 'etcd', 'etcd.pid'));
  if (etcd) process.kill(etcd.pid, 'SIGKILL');
  const isLeft = () => etcd && readLivePidFile(join(dir, 'run', 'etcd', 'etcd.pid'));
  await expect.poll(isLeft, { timeout: LIMIT_MS }).toBeUndefined();
  rmSync(dir, { recursive: true, force: true });
});

/** A manager as `tsd` starts it. @returns how to stop it */
async function start(...flags: string[]): Promise<() => Promise<void>> {
  const config = parseConfig([
    ...['--data-dir', join(dir, 'manager'), '--run-dir', join(dir, 'run'), '--node-dir', join(dir, 'node')],
    ...['--listen-addr', GRPC_ADDR, '--advertise-addr', GRPC_ADDR],
    ...['--api-listen-addr', `${HOST}:${API_PORT}`, '--hostname', 'host1', ...flags],
  ]);
  const stopping = new AbortController();
  const env = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const running = runManager(config, env, stopping.signal);
  const stop = async () => {
    stopping.abort(new Error('stopped'));
    await running.catch(() => {});
  };
  cleanup.push(stop);
  const failed = running.then(
    () => 'ended',
    (error: unknown) => Promise.reject(error),
  );
  const isReady = async () => (await get('/_ping').catch(() => undefined))?.status;
  await Promise.race([expect.poll(isReady, { timeout: LIMIT_MS }).toBe(200), failed]);
  return stop;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers: IncomingMessage['headers'];
}

function get(path: string, tls?: Partial<TlsIdentity>, method = 'GET', body?: object): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const receive = (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = response.headers['content-type']?.includes('json');
        resolve({
          status: response.statusCode!,
          body: isJson ? JSON.parse(text) : text,
          headers: response.headers,
        });
      });
    };
    const headers = { 'content-type': 'application/json' };
    const sent = tls
      ? requestTls(
          {
            ...{ host: HOST, port: API_PORT, path, method, headers },
            ...{ ca: tls.caCertPem, cert: tls.certPem, key: tls.keyPem, agent: false },
          },
          receive,
        )
      : request({ socketPath: join(dir, 'run', 'tessera.sock'), path, method, headers }, receive);
    sent.on('error', reject);
    sent.end(body && JSON.stringify(body));
  });
}

const nodeFile = (name: string) => readFileSync(join(dir, 'node', name), 'utf8');

async function joinAs(hostname: string): Promise<{ nodeId: string; identity: TlsIdentity }> {
  const { JoinTokens } = (await get('/swarm')).body as { JoinTokens: { Worker: string } };
  const key = await aNodeKey();
  const ca = nodeFile('ca.pem');
  const client = new CertificateAuthorityClient(
    GRPC_ADDR,
    channelCredentials({ caCertPem: ca }),
    CHANNEL_OPTIONS,
  );
  const request = { token: JoinTokens.Worker, csrPem: key.csrPem, hostname, availability: 'active' as const };
  const answer = await new Promise<JoinResponse>((resolve, reject) =>
    client.join(request, (error, reply) => (error ? reject(error) : resolve(reply))),
  );
  client.close();
  return {
    nodeId: answer.nodeId,
    identity: { keyPem: key.keyPem, certPem: answer.certPem, caCertPem: ca },
  };
}

function register(identity: TlsIdentity): ManagerMessage[] {
  const client = new DispatcherClient(GRPC_ADDR, channelCredentials(identity), CHANNEL_OPTIONS);
  const received: ManagerMessage[] = [];
  const session = client.session();
  session.on('data', (message: ManagerMessage) => received.push(message));
  session.on('error', () => {});
  session.write({ body: { $case: 'register', value: Register.create() } } satisfies AgentMessage);
  cleanup.push(() => client.close());
  return received;
}

interface NodeJson {
  readonly ID: string;
  readonly Status: { readonly State: string };
}
const nodes = async () => (await get('/nodes')).body as NodeJson[];

test('a new cluster has one manager node, which a worker joins and is ready in', async () => {
  await start('--init');

  const { nodeId, identity } = await joinAs('host2');
  const received = register(identity);

  await expect.poll(() => received[0]?.body?.$case, { timeout: LIMIT_MS }).toBe('welcome');
  const found = (await nodes()).find(({ ID }) => ID === nodeId);
  expect(found).toMatchObject({ Description: { Hostname: 'host2' }, Status: { State: 'ready' } });
  const { nodeId: ownId } = JSON.parse(nodeFile('identity.json'));
  expect((await nodes()).map(({ ID }) => ID).sort()).toEqual([ownId, nodeId].sort());
  expect(statSync(join(dir, 'run', 'tessera.sock')).mode & 0o777).toBe(0o660);
  for (const name of ['cert.pem', 'identity.json'])
    expect(statSync(join(dir, 'node', name)).mode & 0o777).toBe(0o600);
});

test('stopped and started again it is the same cluster with the same etcd, and init changes nothing', async () => {
  const stop = await start('--init');
  const identity = nodeFile('identity.json');
  const certificate = nodeFile('cert.pem');
  const etcd = readLivePidFile(join(dir, 'run', 'etcd', 'etcd.pid'));
  await stop();
  expect(readLivePidFile(join(dir, 'run', 'etcd', 'etcd.pid'))).toEqual(etcd);

  await start('--init');

  expect(nodeFile('identity.json')).toBe(identity);
  expect(nodeFile('cert.pem')).toBe(certificate);
  expect(await nodes()).toHaveLength(1);
});

test('an init that was interrupted before the identity was written goes on with the same cluster', async () => {
  const stop = await start('--init');
  const { clusterId, nodeId } = JSON.parse(nodeFile('identity.json'));
  await stop();
  rmSync(join(dir, 'node', 'identity.json'));

  await start('--init');

  expect(JSON.parse(nodeFile('identity.json'))).toMatchObject({ clusterId, nodeId });
});

test('without an identity and without init it does not start, and says so', async () => {
  await expect(start()).rejects.toThrow(/no identity .*: init or join first/);
});

test('a new cluster’s spec is what init was told', async () => {
  await start('--init', '--default-addr-pool', '10.40.0.0/16', '--subnet-size', '26');

  const { body } = await get('/swarm');

  expect(body).toMatchObject({ DefaultAddrPool: ['10.40.0.0/16'], SubnetSize: 26, DataPathPort: 4789 });
});

test('the API over TLS serves users with a certificate, and refuses nodes, strangers and the nameless', async () => {
  await start('--init', '--socket-group', '4711');
  const { mode, uid, gid } = statSync(join(dir, 'run', 'tessera.sock'));
  expect({ mode: mode & 0o777, uid, gid }).toEqual({ mode: 0o660, uid: 0, gid: 4711 });
  const caCertPem = nodeFile('ca.pem');
  const issued = await get('/tessera/v1/client-certificates', undefined, 'POST', { name: 'alice' });
  expect(issued.status).toBeLessThan(300);
  const user = issued.body as TlsIdentity;
  const { identity: worker } = await joinAs('host2');
  const manager = { caCertPem, certPem: nodeFile('cert.pem'), keyPem: nodeFile('key.pem') };

  const statuses = await Promise.all(
    [user, worker, manager, { caCertPem }].map(async (identity) => (await get('/nodes', identity)).status),
  );

  expect(statuses).toEqual([200, 403, 403, 401]);

  const forgetful = await new Promise<string>((resolve, reject) => {
    const sent = request({ host: HOST, port: API_PORT, path: '/_ping' }, (answer) => {
      answer.setEncoding('utf8').once('data', (text: string) => resolve(`${answer.statusCode} ${text}`));
    });
    sent.once('error', reject).end();
  });
  expect(forgetful).toBe('400 Client sent an HTTP request to an HTTPS server.\n');
});

test('etcd listens on no address that a worker could reach', async () => {
  await start('--init');

  const { pid } = readLivePidFile(join(dir, 'run', 'etcd', 'etcd.pid'))!;
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');

  const listening = command.filter((word) => word.startsWith('--listen-'));
  expect(listening.length).toBeGreaterThan(0);
  for (const flag of listening) expect(flag).toMatch(/=unix:\/\//);
  expect(statSync(join(dir, 'run', 'etcd')).mode & 0o777).toBe(0o700);
});
