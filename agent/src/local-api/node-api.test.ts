import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inactiveSwarm, type SwarmInfo } from '@tessera/shared/docker-api';
import { silentLogger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SocketServer } from './http-server.js';
import { type InitRequest, type JoinRequest, type NodeBackend, nodeApi } from './node-api.js';

let dir: string;
let path: string;
let servers: SocketServer[];
let calls: { init: InitRequest[]; join: JoinRequest[]; leave: boolean[] };
let swarm: SwarmInfo;
let role: 'worker' | 'manager' | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-api-'));
  path = join(dir, 'tessera.sock');
  servers = [];
  calls = { init: [], join: [], leave: [] };
  swarm = inactiveSwarm;
  role = undefined;
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(dir, { recursive: true });
});

const backend: NodeBackend = {
  init: async (body) => {
    calls.init.push(body);
    return 'node-1';
  },
  join: async (body) => {
    calls.join.push(body);
    if (body.JoinToken === 'bad') throw new ClusterError('invalidArgument', 'invalid join token');
  },
  leave: async (force) => void calls.leave.push(force),
  swarm: () => swarm,
  role: () => role,
  host: () => ({
    kernel: '6.1',
    machine: 'x86_64',
    hostname: 'host1',
    cpus: 2,
    memoryBytes: 1024,
    cgroupMode: 'v2',
    dataDir: dir,
    operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    insecureRegistries: ['10.0.0.0/8', 'registry.local:5000'],
    registryMirrors: ['https://mirror.local'],
    selinux: false,
    nowMs: 0,
  }),
  counts: () => ({
    containersRunning: 3,
    containersPaused: 0,
    containersStopped: 0,
    images: 1,
    openFiles: 20,
    eventReaders: 0,
  }),
};

async function aServer(handler = nodeApi(backend)): Promise<SocketServer> {
  const server = new SocketServer({
    path,
    handler,
    headers: { 'Api-Version': '1.50' },
    logger: silentLogger,
  });
  servers.push(server);
  await server.listen();
  return server;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function ask(method: string, url: string, body?: string | object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: path, method, path: url }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    call.on('error', reject);
    call.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
}

describe('a node in no cluster', () => {
  test('answers a ping, with its state in the header that clients look at', async () => {
    await aServer();

    const get = await ask('GET', '/_ping');
    const head = await ask('HEAD', '/v1.41/_ping');

    expect(get).toMatchObject({
      status: 200,
      text: 'OK',
      headers: { swarm: 'inactive', 'api-version': '1.50' },
    });
    expect(head).toMatchObject({ status: 200, text: '' });
  });

  test('tells its version and facts', async () => {
    await aServer();

    const info = JSON.parse((await ask('GET', '/v1.50/info')).text);

    expect(info.RegistryConfig).toEqual({
      AllowNondistributableArtifactsCIDRs: [],
      AllowNondistributableArtifactsHostnames: [],
      InsecureRegistryCIDRs: ['10.0.0.0/8', '127.0.0.0/8'],
      IndexConfigs: {
        'docker.io': {
          Name: 'docker.io',
          Mirrors: ['https://mirror.local/'],
          Secure: true,
          Official: true,
        },
        'registry.local:5000': { Name: 'registry.local:5000', Mirrors: [], Secure: false, Official: false },
      },
      Mirrors: ['https://mirror.local/'],
    });
    expect(info).toMatchObject({
      Name: 'host1',
      NCPU: 2,
      ContainersRunning: 3,
      Swarm: { LocalNodeState: 'inactive' },
    });
    expect(JSON.parse((await ask('GET', '/version')).text)).toMatchObject({
      ApiVersion: '1.50',
      Arch: 'amd64',
    });
  });

  test('refuses what needs a cluster as dockerd does', async () => {
    await aServer();

    const answer = await ask('GET', '/v1.50/services');

    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text).message).toMatch(/^This node is not a cluster manager\. Use/);
  });

  test('makes a cluster, and answers with the id of its node', async () => {
    await aServer();

    const answer = await ask('POST', '/v1.50/swarm/init', {
      ListenAddr: '0.0.0.0:2377',
      AdvertiseAddr: '10.0.0.1',
      DefaultAddrPool: ['10.20.0.0/16'],
      SubnetSize: 26,
      DataPathPort: 0,
      Spec: { Labels: null },
    });

    expect(answer).toMatchObject({ status: 200, text: '"node-1"' });
    expect(calls.init).toMatchObject([
      {
        AdvertiseAddr: '10.0.0.1',
        DefaultAddrPool: ['10.20.0.0/16'],
        SubnetSize: 26,
        ForceNewCluster: false,
      },
    ]);
  });

  test('joins one, and says why it could not', async () => {
    await aServer();
    const body = { RemoteAddrs: ['10.0.0.1:2377'], JoinToken: 'good' };

    expect(await ask('POST', '/swarm/join', body)).toMatchObject({ status: 200, text: '' });
    const refused = await ask('POST', '/swarm/join', { ...body, JoinToken: 'bad' });

    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toEqual({ message: 'invalid join token' });
    expect(calls.join[0]?.RemoteAddrs).toEqual(['10.0.0.1:2377']);
  });

  test('names the field that is wrong', async () => {
    await aServer();

    const noAddress = await ask('POST', '/swarm/join', { JoinToken: 'x', RemoteAddrs: [] });
    const noPort = await ask('POST', '/swarm/init', { DataPathPort: 'x' });
    const noRoom = await ask('POST', '/swarm/init', { SubnetSize: 30 });
    const noJson = await ask('POST', '/swarm/init', '{');
    const tooLong = await ask('POST', '/swarm/init', ' '.repeat(70_000));

    expect(JSON.parse(noAddress.text).message).toMatch(/^RemoteAddrs: /);
    expect(JSON.parse(noPort.text).message).toMatch(/^DataPathPort: /);
    expect(JSON.parse(noRoom.text).message).toBe('SubnetSize: must be a prefix length of at most 29');
    expect(JSON.parse(noJson.text).message).toContain('not valid JSON');
    expect(JSON.parse(tooLong.text).message).toContain('larger than');
    expect([noAddress, noPort, noJson, tooLong].map(({ status }) => status)).toEqual([400, 400, 400, 400]);
    expect(calls).toMatchObject({ init: [], join: [] });
  });
});

describe('a node in a cluster', () => {
  test('a worker says that it is one, and refuses as one', async () => {
    swarm = { ...inactiveSwarm, LocalNodeState: 'active' };
    role = 'worker';
    await aServer();

    expect((await ask('GET', '/_ping')).headers.swarm).toBe('active/worker');
    expect(JSON.parse((await ask('GET', '/nodes')).text).message).toContain("Worker nodes can't be used");
  });

  test('a manager node whose manager is away never claims to be the manager', async () => {
    swarm = { ...inactiveSwarm, LocalNodeState: 'active' };
    role = 'manager';
    await aServer();

    expect((await ask('GET', '/_ping')).headers.swarm).toBe('pending');
    expect(JSON.parse((await ask('GET', '/nodes')).text).message).toContain('manager is not running yet');
  });

  test('leaves, by force if it is told so', async () => {
    await aServer();

    await ask('POST', '/swarm/leave');
    await ask('POST', '/swarm/leave?force=0');
    await ask('POST', '/swarm/leave?force=1');
    await ask('POST', '/swarm/leave?force=true');

    expect(calls.leave).toEqual([false, false, true, true]);
  });
});

test('the name of a socket passes to another server and back, and none removes the name of the other', async () => {
  const who = (name: string) => () => ({ status: 200, body: name });
  const first = await aServer(who('first'));
  const second = await aServer(who('second'));
  expect((await ask('GET', '/')).text).toBe('second');

  first.close();
  expect((await ask('GET', '/')).text).toBe('second');
  await first.listen();
  second.close();

  expect((await ask('GET', '/')).text).toBe('first');
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a request under way is answered although the name has passed on', async () => {
  let begun: () => void = () => undefined;
  let release: (body: string) => void = () => undefined;
  const began = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const body = new Promise<string>((resolve) => {
    release = resolve;
  });
  const server = await aServer(async () => {
    begun();
    return { status: 200, body: await body };
  });
  const asked = ask('GET', '/');
  await began;

  server.close();
  release('done');

  expect((await asked).text).toBe('done');
});
