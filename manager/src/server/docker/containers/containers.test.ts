import { ClusterError } from '@tessera/shared/errors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiFixture, type Json } from '../../testing/api-fixture.js';
import { FakeContainers } from '../../testing/fake-containers.js';

let api: ApiFixture;
let agents: FakeContainers;

/** For a slow machine; what is waited for comes within milliseconds. */
const PATIENT = { timeout: 20_000 };

beforeEach(async () => {
  api = await ApiFixture.start();
  agents = new FakeContainers(api);
  await api.addImage();
});
afterEach(async () => {
  agents[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

const create = async (name: string, body: object = {}): Promise<string> => {
  const answer = await api.call('POST', `/containers/create?name=${name}`, { Image: 'busybox', ...body });
  expect(answer).toMatchObject({ status: 201 });
  return (answer.body as { Id: string }).Id;
};
const start = async (name: string, body: object = {}): Promise<string> => {
  const id = await create(name, body);
  expect((await api.call('POST', `/containers/${name}/start`)).status).toBe(204);
  return id;
};
const inspect = async (reference: string): Promise<Json> =>
  (await api.call('GET', `/containers/${reference}/json`)).body as Json;

describe('create', () => {
  test('a container is placed, and its id is 64 digits', async () => {
    const id = await create('web', { Cmd: ['sleep', '1d'], Labels: { shop: 'a' } });

    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await inspect('web')).toMatchObject({
      Id: id,
      Name: '/web',
      Path: 'sleep',
      Args: ['1d'],
      State: { Status: 'created', Running: false, ExitCode: 0 },
      Config: { Image: 'busybox', Cmd: ['sleep', '1d'], Labels: { shop: 'a' } },
      Node: { Name: expect.stringMatching(/^host[123]$/) },
    });
  });

  test('one without a name is given one', async () => {
    const { body } = await api.call('POST', '/containers/create', { Image: 'busybox' });

    expect((await inspect((body as { Id: string }).Id)).Name).toMatch(/^\/[a-z]+_[a-z]+/);
  });

  test('a name that is taken is refused in the very words of Docker', async () => {
    const id = await create('web');

    expect(await api.call('POST', '/containers/create?name=/web', { Image: 'busybox' })).toMatchObject({
      status: 409,
      body: {
        message: `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
      },
    });
  });

  test('an image that the cluster has not is refused so that clients know to pull it', async () => {
    expect(await api.call('POST', '/containers/create', { Image: 'redis' })).toMatchObject({
      status: 404,
      body: { message: 'No such image: redis:latest' },
    });
  });

  test.each([
    [
      'linux/s390x',
      404,
      'image with reference busybox was found but does not match the specified platform: wanted linux/s390x, actual: linux/amd64',
    ],
    ['nonsense', 400, '"nonsense": unknown operating system or architecture: invalid argument'],
    ['x86_64', 201, undefined],
  ])('of platform %s it is %i, as with Docker', async (platform, status, message) => {
    const answer = await api.call('POST', `/containers/create?platform=${platform}`, { Image: 'busybox' });

    expect(answer.status).toBe(status);
    expect((answer.body as { message?: string }).message).toBe(message);
  });

  test('what fits nowhere is refused with the reasons, and leaves nothing', async () => {
    const answer = await api.call('POST', '/containers/create?name=web', {
      Image: 'busybox',
      Env: ['constraint:node==host9'],
    });

    expect(answer).toMatchObject({
      status: 409,
      body: { message: 'no suitable node (constraint node==host9 not satisfied on 3 nodes)' },
    });
    await expect.poll(() => api.store.view().containers.size, PATIENT).toBe(0);
    expect(api.store.view().claim('name/container/web')).toBeUndefined();
  });

  test('what its agent refuses is answered, and leaves nothing', async () => {
    agents.createErrors.set('web', new ClusterError('invalidArgument', 'HostConfig.PidMode: not here'));

    expect(await api.call('POST', '/containers/create?name=web', { Image: 'busybox' })).toMatchObject({
      status: 400,
      body: { message: 'HostConfig.PidMode: not here' },
    });
    await expect.poll(() => api.store.view().containers.size, PATIENT).toBe(0);
  });

  test('constraints in environment or labels decide the node, as the stand-alone Swarm has it', async () => {
    await create('ca', { Env: ['constraint:node==*3', 'A=b', 'reschedule:on-node-failure'] });
    await create('cb', { Labels: { 'com.docker.swarm.constraints': '["node==host2"]' } });
    await create('cc', { Env: ['affinity:container==cb', 'constraint:node!=~host2'] });

    expect(await inspect('ca')).toMatchObject({
      Node: { Name: 'host3' },
      Config: {
        Env: ['A=b'],
        Labels: {
          'com.docker.swarm.constraints': '["node==*3"]',
          'com.docker.swarm.reschedule-policies': '["on-node-failure"]',
        },
      },
    });
    expect((await inspect('cb')).Node.Name).toBe('host2');
    expect(await inspect('cc')).toMatchObject({
      Node: { Name: 'host2' },
      Config: {
        Labels: {
          'com.docker.swarm.affinities': '["container==cb"]',
          'com.docker.swarm.constraints': '["node!=~host2"]',
        },
      },
    });
  });

  test('fields that are not honoured are refused by name', async () => {
    const refused: [object, string][] = [
      [{ Volumes: { data: {} } }, "invalid volume specification: 'data': "],
      [{ HostConfig: { VolumesFrom: ['web:x'] } }, 'invalid mode: x'],
      [
        { HostConfig: { Binds: ['./data:/data'] } },
        'If you intended to pass a host directory, use absolute path',
      ],
      [{ HostConfig: { Binds: ['/a:/x', '/b:/x/'] } }, 'Duplicate mount point: /x'],
      [{ HostConfig: { Binds: ['/a:/x:ro,rw'] } }, 'invalid mode: ro,rw'],
      [{ HostConfig: { Binds: ['/x:ro'] } }, "invalid volume specification: '/x:ro'"],
      [{ HostConfig: { Binds: ['/a:/'] } }, "destination can't be '/'"],
      [{ HostConfig: { Binds: ['data:/x:rshared'] } }, 'field BindOptions must not be specified'],
      [{ HostConfig: { Tmpfs: { '/t': 'huge' } } }, 'invalid tmpfs option ["huge"]'],
      [
        { HostConfig: { Mounts: [{ Type: 'bind', Source: 'x', Target: '/x' }] } },
        `invalid mount config for type "bind": invalid mount path: 'x' mount path must be absolute`,
      ],
      [
        {
          HostConfig: {
            Mounts: [
              {
                Type: 'volume',
                Source: 'odd',
                Target: '/x',
                VolumeOptions: { DriverConfig: { Options: { foo: 'bar' } } },
              },
            ],
          },
        },
        'invalid option: "foo"',
      ],
      [{ HostConfig: { Runtime: 'runc' } }, 'unknown or invalid runtime name: runc'],
      [{ HostConfig: { Nonsense: 1 } }, 'HostConfig.Nonsense: is not a field Tessera knows'],
      [
        { Env: ['affinity:container=x'] },
        "Env: affinity:container=x: One of operator ==, != is expected in 'container=x'",
      ],
      [{ Env: ['constraint:node==/(/'] }, "Env: constraint:node==/(/: Value '/(/' is invalid: "],
      [{ Env: ['reschedule:now'] }, 'Env: reschedule:now: invalid reschedule policy: now'],
      [{ Labels: { 'com.docker.swarm.affinities': 'web' } }, 'Labels.com.docker.swarm.affinities: '],
      [
        { WorkingDir: 'etc' },
        "WorkingDir: the working directory 'etc' is invalid, it needs to be an absolute path",
      ],
      [
        { NetworkingConfig: { EndpointsConfig: { bridge: { IPAMConfig: { IPv4Address: '1.2.3.4' } } } } },
        'NetworkingConfig.EndpointsConfig.bridge.IPAMConfig: ',
      ],
      [{ HostConfig: { AutoRemove: true, RestartPolicy: { Name: 'always' } } }, "can't create 'AutoRemove'"],
      [{ HostConfig: { RestartPolicy: { Name: 'always', MaximumRetryCount: 2 } } }, 'invalid restart policy'],
    ];
    for (const [body, message] of refused) {
      const answer = await api.call('POST', '/containers/create', { Image: 'busybox', ...body });
      expect(answer, JSON.stringify(body)).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining(message) },
      });
    }
  });

  test('fields are known in any case of letters, as dockerd knows them; names that a user gives stay as they are', async () => {
    const { status, body } = await api.call('POST', '/containers/create?name=spelled', {
      image: 'busybox',
      labels: { Image: 'x', cmd: 'y' },
      hostconfig: { restartPolicy: { name: 'on-failure', MAXIMUMRETRYCOUNT: 2 } },
    });

    expect({ status, body }).toMatchObject({ status: 201 });
    expect((await api.call('GET', '/containers/spelled/json')).body).toMatchObject({
      Config: { Image: 'busybox', Labels: { Image: 'x', cmd: 'y' } },
      HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
    });
    const refused = await api.call('POST', '/containers/create', {
      image: 'busybox',
      hostconfig: { imagee: 1 },
    });
    expect(refused.body).toEqual({
      message: 'invalid container: HostConfig.imagee: is not a field Tessera knows; leave it out',
    });
  });

  test('options that exclude one another, or that no host has, are refused in Docker’s words', async () => {
    await api.call('POST', '/containers/create?name=other', { Image: 'busybox' });
    const joined = (host: object = {}) => ({ HostConfig: { NetworkMode: 'container:other', ...host } });
    const refused: [object, string][] = [
      [{ ...joined(), Hostname: 'a' }, 'conflicting options: hostname and the network mode'],
      [joined({ Dns: ['1.1.1.1'] }), 'conflicting options: dns and the network mode'],
      [
        joined({ ExtraHosts: ['a:1.2.3.4'] }),
        'conflicting options: custom host-to-IP mapping and the network mode',
      ],
      [
        joined({ PortBindings: { '80/tcp': [{ HostPort: '80' }] } }),
        'conflicting options: port publishing and the container type network mode',
      ],
      [
        { ...joined(), ExposedPorts: { '80/tcp': {} } },
        'conflicting options: port exposing and the container type network mode',
      ],
      [{ HostConfig: { NetworkMode: 'container:' } }, 'invalid container format container:<name|id>'],
      [{ HostConfig: { PidMode: 'elsewhere' } }, 'invalid PID mode: elsewhere'],
      [{ HostConfig: { IpcMode: 'container:' } }, 'invalid IPC mode: container:'],
      [{ HostConfig: { UTSMode: 'host' }, Hostname: 'a' }, 'conflicting options: hostname and the UTS mode'],
      [{ HostConfig: { UsernsMode: 'mine' } }, 'invalid userns mode: mine'],
      [{ HostConfig: { Isolation: 'hyperv' } }, "invalid isolation 'hyperv' on linux"],
      [{ HostConfig: { CpuRealtimePeriod: 1000 } }, 'kernel does not support CPU real-time scheduler'],
      [
        { HostConfig: { DeviceRequests: [{ Driver: '', Count: -1, Capabilities: [['gpu']] }] } },
        'could not select device driver "" with capabilities: [[gpu]]',
      ],
      [
        { HostConfig: { StorageOpt: { size: '1G' } } },
        '--storage-opt is supported only for overlay over xfs',
      ],
    ];
    for (const [body, message] of refused) {
      const answer = await api.call('POST', '/containers/create', { Image: 'busybox', ...body });
      expect(answer, JSON.stringify(body)).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining(message) },
      });
    }
  });

  test('what a host, or every host, leaves out is told by the create and by an update', async () => {
    agents.warnings = ['Your kernel does not support OomKillDisable. OomKillDisable discarded.'];
    const host = {
      NetworkMode: 'host',
      PortBindings: { '80/tcp': [{ HostPort: '80' }] },
      KernelMemory: 1 << 24,
      Memory: 64 << 20,
      UsernsMode: 'host',
      Annotations: { 'org.example/key': 'value' },
    };
    const { body } = await api.call('POST', '/containers/create?name=warned', {
      Image: 'busybox',
      HostConfig: host,
    });
    expect((body as { Warnings: string[] }).Warnings).toEqual([
      'Published ports are discarded when using host network mode',
      ...agents.warnings,
    ]);
    expect((await api.call('POST', '/containers/warned/update', { CpuShares: 512 })).body).toEqual({
      Warnings: agents.warnings,
    });
    expect((await api.call('GET', '/containers/warned/json')).body).toMatchObject({
      HostConfig: {
        Memory: 64 << 20,
        MemorySwap: 128 << 20,
        UsernsMode: 'host',
        Annotations: { 'org.example/key': 'value' },
      },
    });
    expect(await api.call('POST', '/containers/warned/update', { Memory: 256 << 20 })).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('already set memoryswap limit') },
    });
  });

  test('what the docker CLI sends for a plain run is accepted and shown again', async () => {
    const host = {
      Binds: ['/srv:/data:ro'],
      ContainerIDFile: '',
      LogConfig: { Type: '', Config: {} },
      NetworkMode: 'default',
      PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] },
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
      AutoRemove: false,
      VolumeDriver: '',
      VolumesFrom: null,
      ConsoleSize: [24, 80],
      CapAdd: ['NET_ADMIN'],
      ExtraHosts: ['db:10.0.0.9'],
      Memory: 64 * 2 ** 20,
      NanoCpus: 500_000_000,
      MemorySwappiness: -1,
      PidsLimit: 0,
      BlkioDeviceReadBps: [],
      Tmpfs: { '/run': 'size=64m,mode=1777' },
      MaskedPaths: null,
      ReadonlyPaths: null,
    };
    await create('web', {
      ExposedPorts: { '80/tcp': {} },
      OpenStdin: true,
      StdinOnce: true,
      HostConfig: host,
    });

    expect(await inspect('web')).toMatchObject({
      HostConfig: {
        Binds: ['/srv:/data:ro'],
        NetworkMode: 'default',
        PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] },
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
        CapAdd: ['NET_ADMIN'],
        ExtraHosts: ['db:10.0.0.9'],
        Memory: 64 * 2 ** 20,
        NanoCpus: 500_000_000,
        Tmpfs: { '/run': 'size=64m,mode=1777' },
      },
      Config: { ExposedPorts: { '80/tcp': {} }, OpenStdin: true, StdinOnce: true },
      Mounts: [{ Type: 'bind', Source: '/srv', Destination: '/data', RW: false }],
    });
  });
});

describe('verbs', () => {
  test('start answers once it runs, and 304 the second time; stop likewise', async () => {
    await create('web');

    expect((await api.call('POST', '/containers/web/start')).status).toBe(204);
    expect((await inspect('web')).State).toMatchObject({ Status: 'running', Running: true, Pid: 4242 });
    expect((await api.call('POST', '/containers/web/start')).status).toBe(304);
    expect((await api.call('POST', '/containers/web/stop?t=1')).status).toBe(204);
    expect((await inspect('web')).State).toMatchObject({ Status: 'exited', ExitCode: 143, Pid: 0 });
    expect((await api.call('POST', '/containers/web/stop')).status).toBe(304);
  });

  test('a start that fails is answered with what the agent says, and the container stays created', async () => {
    const message = 'exec: "nosuch": executable file not found in $PATH';
    agents.startErrors.set('web', new ClusterError('invalidArgument', message));
    await create('web');

    expect(await api.call('POST', '/containers/web/start')).toMatchObject({ status: 400, body: { message } });
    expect((await inspect('web')).State).toMatchObject({ Status: 'created', ExitCode: 127, Error: message });
  });

  test('what is asked at once is answered one after the other, each with its own answer', async () => {
    await create('web');

    const answers = await Promise.all(
      Array.from({ length: 8 }, () => api.call('POST', '/containers/web/start')),
    );

    expect(answers.map(({ status }) => status).sort()).toEqual([204, 304, 304, 304, 304, 304, 304, 304]);
  });

  test('pause, unpause and restart', async () => {
    await start('web');

    expect((await api.call('POST', '/containers/web/pause')).status).toBe(204);
    expect((await inspect('web')).State).toMatchObject({ Status: 'paused', Running: true, Paused: true });
    expect((await api.call('POST', '/containers/web/unpause')).status).toBe(204);
    expect((await api.call('POST', '/containers/web/restart?t=0')).status).toBe(204);
    expect((await inspect('web')).State.Status).toBe('running');
  });

  test('a killed container has ended when the kill is answered; one that does not run cannot be killed', async () => {
    const id = await start('web');

    expect((await api.call('POST', '/containers/web/kill?signal=USR1')).status).toBe(204);
    expect((await inspect('web')).State.Running).toBe(true);
    expect((await api.call('POST', '/containers/web/kill')).status).toBe(204);
    expect((await inspect('web')).State).toMatchObject({ Status: 'exited', ExitCode: 137 });
    expect(agents.signals).toEqual([10, 9]);
    expect(await api.call('POST', '/containers/web/kill')).toMatchObject({
      status: 409,
      body: { message: `cannot kill container: web: container ${id} is not running` },
    });
    expect((await api.call('POST', '/containers/web/kill?signal=NONE')).status).toBe(400);
  });

  test('what cannot be reached is said, not waited for', async () => {
    await create('web', { Env: ['constraint:node==host2'] });
    await api.store.update((tx) =>
      tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-2')!, state: 'down' }),
    );

    expect(await api.call('POST', '/containers/web/start')).toMatchObject({
      status: 503,
      body: { message: 'node host2 is down: its containers cannot be reached' },
    });
  });

  test('limits and restart policy are changed, the rest is kept', async () => {
    await create('web', { HostConfig: { Memory: 2 ** 26, CpuShares: 512 } });

    const body = { Memory: 2 ** 27, RestartPolicy: { Name: 'always' } };
    expect(await api.call('POST', '/containers/web/update', body)).toMatchObject({ status: 200 });

    expect((await inspect('web')).HostConfig).toMatchObject({
      Memory: 2 ** 27,
      CpuShares: 512,
      RestartPolicy: { Name: 'always' },
    });
  });

  test('limits that what is there rules out are refused in Docker’s words', async () => {
    const ids = {
      nano: await create('nano', { HostConfig: { NanoCpus: 5e8, Memory: 2 ** 26 } }),
      quota: await create('quota', { HostConfig: { CpuQuota: 50_000, CpuPeriod: 100_000 } }),
    };
    const refusal = async (name: keyof typeof ids, body: object) => {
      const { status, body: answer } = await api.call('POST', `/containers/${name}/update`, body);
      return [status, (answer as { message: string }).message.replace(`container ${ids[name]}`, 'it')];
    };
    expect(await refusal('nano', { CpuQuota: 50_000 })).toEqual([
      409,
      'Cannot update it: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set',
    ]);
    expect(await refusal('nano', { CpuPeriod: 50_000 })).toEqual([
      409,
      'Cannot update it: Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set',
    ]);
    expect(await refusal('quota', { NanoCpus: 5e8 })).toEqual([
      409,
      'Cannot update it: Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set',
    ]);
    expect(await refusal('nano', { Memory: 2 ** 28 })).toEqual([
      409,
      expect.stringMatching(/^Cannot update it: Memory limit should be smaller than already set/),
    ]);
  });

  test('an update that its agent refuses leaves it as it was', async () => {
    await create('web', { HostConfig: { Memory: 2 ** 26 } });
    agents.updateErrors.set('web', new ClusterError('conflict', 'less than it uses'));
    const before = (await inspect('web')).HostConfig;

    const body = { Memory: 2 ** 23, RestartPolicy: { Name: 'always' } };
    expect(await api.call('POST', '/containers/web/update', body)).toMatchObject({
      status: 409,
      body: { message: 'less than it uses' },
    });

    expect((await inspect('web')).HostConfig).toEqual(before);
  });

  test('a container takes a new name, which frees the old one', async () => {
    const id = await create('web');
    await create('db');

    expect((await api.call('POST', '/containers/web/rename?name=db')).status).toBe(409);
    expect((await api.call('POST', '/containers/web/rename?name=shop')).status).toBe(204);

    expect((await inspect('shop')).Id).toBe(id);
    expect((await api.call('GET', '/containers/web/json')).status).toBe(404);
    await create('web');
  });
});

describe('remove', () => {
  test('DELETE answers when it is gone, and its name can be used at once', async () => {
    await create('web');

    expect((await api.call('DELETE', '/containers/web')).status).toBe(204);

    expect(api.store.view().containers.size).toBe(0);
    expect(await api.call('GET', '/containers/web/json')).toMatchObject({
      status: 404,
      body: { message: 'No such container: web' },
    });
    await create('web');
  });

  test('what runs is removed by force only', async () => {
    await start('web');

    expect(await api.call('DELETE', '/containers/web')).toMatchObject({
      status: 409,
      body: {
        message:
          'cannot remove container "/web": container is running: stop the container before removing or force remove',
      },
    });
    expect((await api.call('DELETE', '/containers/web?force=1')).status).toBe(204);
  });

  test('one whose node is down is forgotten by force', async () => {
    await create('web', { Env: ['constraint:node==host2'] });
    agents[Symbol.dispose]();
    agents = new FakeContainers(api);
    await api.store.update((tx) =>
      tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-2')!, state: 'down' }),
    );

    expect((await api.call('DELETE', '/containers/web')).status).toBe(409);
    expect((await api.call('DELETE', '/containers/web?force=true')).status).toBe(204);
    expect(api.store.view().containers.size).toBe(0);
  });

  test('prune removes what does not run', async () => {
    const id = await create('idle');
    await start('busy');
    await create('kept', { Labels: { keep: 'yes' } });

    const filters = encodeURIComponent(JSON.stringify({ 'label!': ['keep=yes'] }));
    const { body } = await api.call('POST', `/containers/prune?filters=${filters}`);

    expect(body).toEqual({ ContainersDeleted: [id], SpaceReclaimed: 0 });
  });
});

describe('names', () => {
  test('a container is found by id, by a beginning of it, by name, with a slash, and with its node', async () => {
    const id = await create('web', { Env: ['constraint:node==host2'] });

    for (const reference of [id, id.slice(0, 12), id.slice(0, 4), 'web', '/web', 'host2/web', `node-2/${id}`])
      expect((await inspect(reference)).Id, reference).toBe(id);
    for (const reference of ['host1/web', 'host9/web', 'nosuch', 'host2/'])
      expect((await api.call('GET', `/containers/${reference}/json`)).status, reference).toBe(404);
  });
});

describe('wait', () => {
  const begin = (name: string, condition: string) =>
    api.begin('POST', `/containers/${name}/wait?condition=${condition}`);
  const wait = async (name: string, condition: string) => (await begin(name, condition)).answer;

  test('next-exit is answered by the exit that follows, with its code', async () => {
    await start('web');
    await agents.exit('web', 3);
    const { answer } = await begin('web', 'next-exit');
    await api.call('POST', '/containers/web/start');

    await agents.exit('web', 7);

    expect((await answer).body).toEqual({ StatusCode: 7 });
  });

  test('not-running is answered at once where nothing runs, a created container included', async () => {
    await create('web');
    expect((await wait('web', 'not-running')).body).toEqual({ StatusCode: 0 });

    await api.call('POST', '/containers/web/start');
    const { answer } = await begin('web', '');
    await agents.exit('web', 5);

    expect((await answer).body).toEqual({ StatusCode: 5 });
    expect((await wait('web', 'not-running')).body).toEqual({ StatusCode: 5 });
  });

  test('removed is answered when a container that removes itself is gone, with its exit code', async () => {
    await start('web', { HostConfig: { AutoRemove: true } });
    const { answer } = await begin('web', 'removed');

    await agents.exit('web', 9);

    expect((await answer).body).toEqual({ StatusCode: 9 });
    expect(api.store.view().containers.size).toBe(0);
  });

  test('an unknown condition or container is refused', async () => {
    await create('web');

    expect((await wait('web', 'never')).status).toBe(400);
    expect((await wait('nosuch', 'removed')).status).toBe(404);
  });
});
