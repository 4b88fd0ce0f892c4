import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeApi, reply } from '../testing/fake-api.js';
import { aNode } from '../testing/samples.js';

let api: FakeApi;
let directory: string;
beforeEach(async () => {
  api = await FakeApi.start();
  directory = await mkdtemp(join(tmpdir(), 'tsctl-files-'));
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const swarm = {
  ID: 'c1',
  Version: { Index: 4 },
  Spec: { Name: 'default' },
  JoinTokens: { Worker: 'TSWT-1-w', Manager: 'TSWT-1-m' },
};
const info = {
  Swarm: {
    NodeID: aNode(1).ID,
    RemoteManagers: [{ NodeID: aNode(1).ID, Addr: '10.0.0.1:2377' }],
    ControlAvailable: true,
  },
};

describe('cluster', () => {
  test('init says how others join', async () => {
    api.on('POST /swarm/init', '"node1"').on('GET /swarm', swarm).on('GET /info', info);
    api.on('POST /swarm/init', (_, response) => reply(response, 200, 'node1'));

    const { code, stdout } = await api.tsctl(
      ...['cluster', 'init', '--advertise-addr', '10.0.0.1'],
      ...['--task-history-limit', '9', '--dispatcher-heartbeat', '2s'],
    );

    expect(code).toBe(0);
    expect(stdout).toContain('Cluster initialized: current node (node1) is now a manager.');
    expect(stdout).toContain('    tsctl cluster join --token TSWT-1-w 10.0.0.1:2377\n');
    expect(api.calls[0]?.body).toMatchObject({
      AdvertiseAddr: '10.0.0.1',
      ListenAddr: '0.0.0.0:2377',
      Spec: { Orchestration: { TaskHistoryRetentionLimit: 9 }, Dispatcher: { HeartbeatPeriod: 2e9 } },
    });
  });

  test('join sends the token and says the role', async () => {
    api.on('POST /swarm/join', {}).on('GET /info', { Swarm: { ControlAvailable: false } });

    const { stdout } = await api.tsctl('cluster', 'join', '--token', 'TSWT-1-w', '10.0.0.1:2377');

    expect(stdout).toBe('This node joined a cluster as a worker.\n');
    expect(api.calls[0]?.body).toMatchObject({ RemoteAddrs: ['10.0.0.1:2377'], JoinToken: 'TSWT-1-w' });
  });

  test('leave waits until the host has left, while the API changes hands', async () => {
    const looks = ['active', 'active', 'gone', 'refused', 'inactive'];
    api.on('POST /swarm/leave', {}).on('GET /info', (_, response) => {
      const look = looks.shift();
      if (look === 'gone') response.destroy();
      else if (look === 'refused') reply(response, 503, { message: 'not running yet' });
      else return { Swarm: { LocalNodeState: look } };
    });

    const outcome = await api.tsctl('cluster', 'leave', '--force');

    expect(outcome).toEqual({ code: 0, stdout: 'Node left the cluster.\n', stderr: '' });
    expect(api.calls[0]?.query.get('force')).toBe('1');
    expect(looks).toEqual([]);
  });

  test('leave that is refused says why, and waits for nothing', async () => {
    api.on('POST /swarm/leave', (_, response) => reply(response, 503, { message: 'use --force' }));

    expect(await api.tsctl('cluster', 'leave')).toMatchObject({
      code: 1,
      stderr: 'Error response from daemon: use --force\n',
    });
    expect(api.calls).toHaveLength(1);
  });

  test('join without a token is wrong usage', async () => {
    expect(await api.tsctl('cluster', 'join', '10.0.0.1:2377')).toMatchObject({ code: 125 });
  });

  test('token shows one, and rotates it first if asked', async () => {
    api.on('GET /swarm', swarm).on('POST /swarm/update', {});

    const quiet = await api.tsctl('cluster', 'token', '-q', 'manager');
    await api.tsctl('cluster', 'token', '-q', '--rotate', 'worker');

    expect(quiet.stdout).toBe('TSWT-1-m\n');
    const update = api.calls.find(({ path }) => path === '/swarm/update');
    expect(Object.fromEntries(update!.query)).toEqual({ version: '4', rotateWorkerToken: 'true' });
  });

  test('inspect keeps the tokens to itself', async () => {
    api.on('GET /swarm', swarm).on('GET /tessera/v1/cluster', { incarnation: 1 });

    const { stdout } = await api.tsctl('cluster', 'inspect');

    expect(stdout).not.toContain('TSWT');
    expect(JSON.parse(stdout)[0]).toMatchObject({ ID: 'c1', incarnation: 1 });
  });

  test('certificate writes a key that only its owner may read', async () => {
    api.on('POST /tessera/v1/client-certificates', { keyPem: 'K', certPem: 'C', caCertPem: 'A' });

    const { code } = await api.tsctl('cluster', 'certificate', '-o', join(directory, 'alice'), 'alice');

    expect(code).toBe(0);
    expect(await readFile(join(directory, 'alice/cert.pem'), 'utf8')).toBe('C');
    expect((await stat(join(directory, 'alice/key.pem'))).mode & 0o777).toBe(0o600);
  });
});

describe('node', () => {
  test('ls marks the one that was asked', async () => {
    const leader = { Leader: true, Reachability: 'reachable', Addr: '10.0.0.1:2377' };
    api.on('GET /nodes', [aNode(2), aNode(1, { ManagerStatus: leader })]).on('GET /info', info);

    expect((await api.tsctl('node', 'ls')).stdout).toBe(
      [
        'ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION',
        'node1aaaaaaaaaaaaaaaaaaaa *   host1      Ready     Active         Leader           0.1.0',
        'node2aaaaaaaaaaaaaaaaaaaa     host2      Ready     Active                          0.1.0\n',
      ].join('\n'),
    );
  });

  test('update adds and takes labels, and keeps the rest', async () => {
    const node = aNode(1, {
      Spec: { Name: 'a', Role: 'worker', Availability: 'active', Labels: { old: '1', keep: '2' } },
    });
    api.on('GET /nodes/host1', node).on(`POST /nodes/${node.ID}/update`, {});

    await api.tsctl(
      'node',
      'update',
      '--label-add',
      'disk=ssd',
      '--label-rm',
      'old',
      '--availability',
      'drain',
      'host1',
    );

    expect(api.calls.at(-1)).toMatchObject({
      body: { Name: 'a', Role: 'worker', Availability: 'drain', Labels: { keep: '2', disk: 'ssd' } },
    });
    expect(api.calls.at(-1)?.query.get('version')).toBe('7');
  });

  test.each([
    [['--label-rm', 'nosuch'], 1, "key nosuch doesn't exist in node's labels\n"],
    [['--label-add', '=x'], 125, "'=x' has no name: write KEY=VALUE\n"],
  ])('update refuses %j', async (flags, code, stderr) => {
    api.on('GET /nodes/host1', aNode(1));

    expect(await api.tsctl('node', 'update', ...flags, 'host1')).toEqual({ code, stdout: '', stderr });
    expect(api.calls).toHaveLength(1);
  });

  test('rm goes on after one it cannot remove', async () => {
    api.on('DELETE /nodes/b', {});

    expect(await api.tsctl('node', 'rm', '--force', 'a', 'b')).toEqual({
      code: 1,
      stdout: 'b\n',
      stderr: 'Error response from daemon: /nodes/a not found\n',
    });
    expect(api.calls.at(-1)?.query.get('force')).toBe('1');
  });
});

describe('network', () => {
  test.each(['--gateway=1.2.3.4', '--ip-range=1.2.3.0/24'])(
    'create refuses %s without a subnet',
    async (flag) => {
      const { code, stderr } = await api.tsctl('network', 'create', flag, 'shop');

      expect({ code, calls: api.calls }).toEqual({ code: 125, calls: [] });
      expect(stderr).toContain('must have a corresponding --subnet');
    },
  );

  test('create sends its subnet and options', async () => {
    api.on('POST /networks/create', { Id: 'net1' });

    const { stdout } = await api.tsctl(
      'network',
      'create',
      ...[
        '-d',
        'overlay',
        '--subnet',
        '10.3.0.0/24',
        '--gateway',
        '10.3.0.9',
        '-o',
        'a=b',
        '--internal',
        'shop',
      ],
    );

    expect(stdout).toBe('net1\n');
    expect(api.calls[0]?.body).toMatchObject({
      Name: 'shop',
      Driver: 'overlay',
      Internal: true,
      IPAM: { Config: [{ Subnet: '10.3.0.0/24', Gateway: '10.3.0.9' }] },
      Options: { a: 'b' },
    });
  });

  test("ls has docker's columns", async () => {
    api.on('GET /networks', [{ Id: 'abcdefghijklmno', Name: 'shop', Driver: 'overlay', Scope: 'swarm' }]);

    expect((await api.tsctl('network', 'ls')).stdout).toBe(
      'NETWORK ID     NAME      DRIVER    SCOPE\nabcdefghijkl   shop      overlay   swarm\n',
    );
  });

  test('rm --force takes what is not there for done', async () => {
    api.on('DELETE /networks/busy', (_, response) => reply(response, 403, { message: 'in use' }));

    expect(await api.tsctl('network', 'rm', 'nosuch')).toMatchObject({ code: 1 });
    expect(await api.tsctl('network', 'rm', '-f', 'nosuch')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await api.tsctl('network', 'rm', '-f', 'busy')).toMatchObject({ code: 1 });
  });
});

test('version takes a template', async () => {
  api.on('GET /version', { Version: '0.1.0', ApiVersion: '1.50' });

  expect((await api.tsctl('version', '--format', '{{.Server.ApiVersion}}')).stdout).toBe('1.50\n');
});

describe('image', () => {
  test('load sends the file and shows what comes back', async () => {
    const archive = join(directory, 'box.tar');
    await writeFile(archive, 'archive');
    api.on('POST /images/load', (_, response) => {
      response.end('{"stream":"layer 1 of 1\\n"}\r\n{"stream":"Loaded image: busybox:latest\\n"}\r\n');
    });

    expect(await api.tsctl('image', 'load', '-i', archive)).toEqual({
      code: 0,
      stdout: 'layer 1 of 1\nLoaded image: busybox:latest\n',
      stderr: '',
    });
    expect(api.calls[0]?.body).toBe('archive');
  });

  test('load fails with what the stream says, and without its file', async () => {
    const archive = join(directory, 'box.tar');
    await writeFile(archive, 'archive');
    api.on('POST /images/load', (_, response) => {
      response.end('{"error":"the archive is truncated","errorDetail":{"message":"x"}}\r\n');
    });

    expect(await api.tsctl('image', 'load', archive)).toMatchObject({
      code: 1,
      stderr: 'the archive is truncated\n',
    });
    expect(await api.tsctl('image', 'load', join(directory, 'nope'))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no such file'),
    });
  });

  test('ls shows one line for each name', async () => {
    api.on('GET /images/json', [
      {
        Id: `sha256:${'c'.repeat(64)}`,
        RepoTags: ['busybox:latest', 'box:2'],
        RepoDigests: [`busybox@sha256:${'d'.repeat(64)}`],
        Created: 1_795_262_000,
        Size: 4_261_550,
        Containers: 1,
      },
    ]);

    expect((await api.tsctl('image', 'ls')).stdout).toBe(
      'REPOSITORY   TAG       IMAGE ID       CREATED         SIZE\n' +
        'busybox      latest    cccccccccccc   6 minutes ago   4.26MB\n' +
        'box          2         cccccccccccc   6 minutes ago   4.26MB\n',
    );
  });

  test('rm says what it did', async () => {
    api.on('DELETE /images/team/app:1', [{ Untagged: 'team/app:1' }, { Deleted: 'sha256:abc' }]);

    expect((await api.tsctl('image', 'rm', 'team/app:1')).stdout).toBe(
      'Untagged: team/app:1\nDeleted: sha256:abc\n',
    );
  });
});

describe('the endpoint', () => {
  test('that does not answer is named', async () => {
    expect(await api.tsctl('-H', 'unix:///nowhere.sock', 'node', 'ls')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Cannot connect to Tessera at unix:///nowhere.sock. Is tsd running on that host?\n',
    });
  });

  test.each([
    ['http://x', 'write unix:///PATH or tcp://HOST[:PORT]'],
    ['tcp://10.0.0.1', 'give --tlscacert, or TSCTL_CERT_PATH'],
  ])('%s is refused with the mend', async (host, message) => {
    const outcome = await api.tsctl('-H', host, 'node', 'ls');

    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain(message);
  });

  test('is not needed for help', async () => {
    const outcome = await api.tsctl('-H', 'http://x', 'service', '--help');

    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('Usage: tsctl service');
  });
});
