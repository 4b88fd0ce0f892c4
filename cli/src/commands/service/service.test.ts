import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeApi, reply } from '../../testing/fake-api.js';
import { aNode, aService, aTask } from '../../testing/samples.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

/** The spec of the one create or update that was sent. */
const sentSpec = () => api.calls.find(({ method }) => method === 'POST')!.body;

describe('service create', () => {
  beforeEach(() => {
    api.on('POST /services/create', { ID: 'new1' });
  });

  test('sends what the flags say, and what follows the image untouched', async () => {
    const flags =
      '--name web --replicas 3 --network shop --network name=back,alias=db --limit-memory 64M --limit-cpu 0.5 ' +
      '--limit-pids 10 --reserve-cpu 0.2 --reserve-memory 32M -e A=b --env FROM_HERE --env UNSET -l x=y ' +
      '--container-label c=d --constraint node.role==worker --mount type=bind,src=/a,dst=/b,ro ' +
      '--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770 --hostname h -u 1:1 -w /srv ' +
      '--restart-condition on-failure --restart-delay 3s --restart-max-attempts 2 --restart-window 1m ' +
      '--stop-grace-period 0 --stop-signal INT --update-parallelism 2 --update-delay 1s --endpoint-mode dnsrr ' +
      '--log-driver json-file --log-opt max-size=1m --no-healthcheck --read-only --cap-add net_admin ' +
      '--cap-drop ALL --ulimit nofile=10:20 --sysctl net.a=1 --dns 1.1.1.1 --host db:10.0.0.1 --detach';

    const outcome = await api.tsctl(
      'service',
      'create',
      ...flags.split(' '),
      'busybox',
      'httpd',
      '-f',
      '--name',
    );

    expect(outcome).toEqual({ code: 0, stdout: 'new1\n', stderr: '' });
    expect(sentSpec()).toEqual({
      Name: 'web',
      Labels: { x: 'y' },
      TaskTemplate: {
        ContainerSpec: {
          Image: 'busybox',
          Args: ['httpd', '-f', '--name'],
          Hostname: 'h',
          User: '1:1',
          Dir: '/srv',
          ReadOnly: true,
          StopSignal: 'INT',
          StopGracePeriod: 0,
          Healthcheck: { Test: ['NONE'] },
          Env: ['A=b', 'FROM_HERE=yes'],
          Labels: { c: 'd' },
          Mounts: [
            { Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true },
            { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o1770 } },
          ],
          Hosts: ['10.0.0.1 db'],
          DNSConfig: { Nameservers: ['1.1.1.1'] },
          Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
          Sysctls: { 'net.a': '1' },
          CapabilityAdd: ['CAP_NET_ADMIN'],
          CapabilityDrop: ['ALL'],
        },
        Resources: {
          Limits: { MemoryBytes: 67_108_864, NanoCPUs: 500_000_000, Pids: 10 },
          Reservations: { NanoCPUs: 200_000_000, MemoryBytes: 33_554_432 },
        },
        RestartPolicy: { Condition: 'on-failure', Delay: 3e9, MaxAttempts: 2, Window: 60e9 },
        Placement: { Constraints: ['node.role==worker'] },
        Networks: [{ Target: 'shop' }, { Target: 'back', Aliases: ['db'] }],
        LogDriver: { Name: 'json-file', Options: { 'max-size': '1m' } },
      },
      Mode: { Replicated: { Replicas: 3 } },
      UpdateConfig: {
        Parallelism: 2,
        Delay: 1e9,
        FailureAction: 'pause',
        Monitor: 5e9,
        MaxFailureRatio: 0,
        Order: 'stop-first',
      },
      EndpointSpec: { Mode: 'dnsrr' },
    });
  });

  test('reads variables from files, which flags override', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tsctl-env-'));
    const file = join(directory, 'env');
    writeFileSync(file, '\uFEFF# comment\n\n  A=1 # kept\nB="x"\r\nFROM_HERE\nNOT_HERE\nC=\n');

    await api.tsctl('service', 'create', '-d', '--env-file', file, '--env', 'B=2', 'busybox');
    writeFileSync(file, 'A B=1\n');
    const bad = await api.tsctl('service', 'create', '-d', '--env-file', file, 'busybox');
    rmSync(directory, { recursive: true });
    const missing = await api.tsctl('service', 'create', '-d', '--env-file', file, 'busybox');

    const created = api.calls.find(({ path }) => path === '/services/create');
    const { Env } = created!.body.TaskTemplate.ContainerSpec;
    expect(Env).toEqual(['A=1 # kept', 'B=2', 'FROM_HERE=yes', 'C=']);
    expect(bad).toMatchObject({ code: 125, stderr: expect.stringContaining("line 1: variable 'A B'") });
    expect(missing).toMatchObject({ code: 125, stderr: expect.stringContaining('no such file') });
  });

  test.each([
    [['create', '-p', '80:80', 'busybox'], '--publish: published ports are not supported yet; leave it out'],
    [['create', '--secret', 'x', 'busybox'], '--secret: secrets are not supported yet'],
    [['update', '--publish-add', '80', 'web'], '--publish-add: published ports'],
    [['update', '--config-rm', 'x', 'web'], '--config-rm: configs are not supported yet'],
  ])('%j is refused by name', async (words, message) => {
    const { code, stderr } = await api.tsctl('service', ...words);

    expect(code).toBe(125);
    expect(stderr).toContain(message);
    expect(api.calls).toEqual([]);
  });

  test('says nothing that was not asked for', async () => {
    await api.tsctl('service', 'create', '-d', 'busybox');

    expect(sentSpec()).toEqual({
      Name: '',
      TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
      Mode: { Replicated: { Replicas: 1 } },
    });
  });

  test('waits until its tasks run, a line for each change', async () => {
    let looks = 0;
    api
      .on('GET /services/new1', aService({ ID: 'new1' }))
      .on('GET /nodes', [aNode(1), aNode(2)])
      .on('GET /tasks', () => [1, 2, 3].slice(0, Math.floor(looks++ / 2)).map((slot) => aTask(slot)));

    const { code, stdout } = await api.tsctl('service', 'create', '--replicas', '3', 'busybox');

    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'new1',
        ...[0, 1, 2, 3].map((count) => `overall progress: ${count} out of 3 tasks`),
        'verify: Service new1 converged\n',
      ].join('\n'),
    );
  });

  test('fails with the words of the API', async () => {
    api.on('POST /services/create', (_, response) =>
      reply(response, 409, { message: 'name conflicts with an existing object: service web already exists' }),
    );

    expect(await api.tsctl('service', 'create', '-d', 'busybox')).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'Error response from daemon: name conflicts with an existing object: service web already exists\n',
    });
  });

  test.each([
    [
      ['--limit-memory', '64Q'],
      'invalid argument "64Q" for "--limit-memory" flag: give a size such as 64M or 1G',
    ],
    [['--ulimit', 'nofile'], 'for "--ulimit" flag: write NAME=SOFT[:HARD]'],
    [['--mount', 'type=bind,target=/x,foo=1'], "'foo' is not known"],
    [['--nonsense', '80'], 'unknown option \'--nonsense\'\nSee "tsctl service create --help".'],
    [['--mode', 'weird'], 'invalid argument "weird" for "--mode" flag: give replicated or global'],
    [['--mode', 'global', '--replicas', '3'], 'for "--replicas" flag: a global service has one task'],
    [['--entrypoint', 'sh -c "unended'], 'for "--entrypoint" flag: close the quotes'],
  ])('refuses %s with exit code 125', async (flags, message) => {
    const outcome = await api.tsctl('service', 'create', ...flags, 'busybox');

    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain(message);
    expect(api.calls).toEqual([]);
  });
});

describe('service update', () => {
  beforeEach(() => {
    api.on('GET /services/web', aService()).on(`POST /services/${aService().ID}/update`, {});
  });

  test('changes what is named and keeps the rest, from the version it has read', async () => {
    api.on('GET /networks/shop', { Id: 'net1id' }).on('GET /networks/back', { Id: 'net2id' });
    const flags =
      '--image busybox:2 --replicas 5 --env-add A=9 --env-add C=3 --env-rm B --label-add x=y --network-rm shop ' +
      '--network-add name=back,alias=db --limit-memory 32M --constraint-add node.role==worker --force -d';

    const outcome = await api.tsctl(
      'service',
      'update',
      ...flags.split(' '),
      '--args',
      'sh -c "echo hi"',
      'web',
    );

    expect(outcome).toEqual({ code: 0, stdout: 'web\n', stderr: '' });
    const post = api.calls.find(({ method }) => method === 'POST')!;
    expect(post.query.get('version')).toBe('7');
    expect(post.body).toEqual({
      Name: 'web',
      Labels: { x: 'y' },
      TaskTemplate: {
        ContainerSpec: { Image: 'busybox:2', Args: ['sh', '-c', 'echo hi'], Env: ['A=9', 'C=3'] },
        Networks: [{ Target: 'net2id', Aliases: ['db'] }],
        Resources: { Limits: { MemoryBytes: 33_554_432 } },
        Placement: { Constraints: ['node.role==worker'] },
        ForceUpdate: 1,
      },
      Mode: { Replicated: { Replicas: 5 } },
      EndpointSpec: { Mode: 'vip' },
    });
  });

  test('another image leaves nothing of the platforms of the one before', async () => {
    const before = aService();
    const Placement = { Platforms: [{ Architecture: 'arm64', OS: 'linux' }] };
    const TaskTemplate = { ...before.Spec.TaskTemplate, Placement };
    api.on('GET /services/web', { ...before, Spec: { ...before.Spec, TaskTemplate } });

    await api.tsctl('service', 'update', '-d', '--limit-pids', '5', 'web');
    await api.tsctl('service', 'update', '-d', '--no-resolve-image', '--image', 'busybox:2', 'web');

    const sent = api.calls.filter(({ method }) => method === 'POST');
    expect(sent.map(({ body }) => body.TaskTemplate.Placement)).toEqual([Placement, {}]);
  });

  test("sets the log driver's options by docker's name for it", async () => {
    await api.tsctl('service', 'update', '-d', '--log-opt', 'max-size=1m', 'web');

    expect(api.calls.at(-1)?.body.TaskTemplate.LogDriver).toEqual({ Options: { 'max-size': '1m' } });
  });

  test('without flags sends back what it has read', async () => {
    await api.tsctl('service', 'update', '-d', 'web');

    expect(sentSpec()).toEqual(aService().Spec);
  });

  test('can roll back', async () => {
    await api.tsctl('service', 'rollback', '-d', 'web');

    expect(api.calls.at(-1)?.query.get('rollback')).toBe('previous');
  });
});

describe('service scale', () => {
  test('scales each, tells which it could not, and fails then', async () => {
    api.on('GET /services/web', aService()).on(`POST /services/${aService().ID}/update`, {});

    const outcome = await api.tsctl('service', 'scale', '-d', 'nope=2', 'web=6');

    expect(outcome).toEqual({
      code: 1,
      stdout: 'web scaled to 6\n',
      stderr: 'Error response from daemon: /services/nope not found\n',
    });
    expect(sentSpec().Mode).toEqual({ Replicated: { Replicas: 6 } });
  });

  test('says how to write it', async () => {
    expect(await api.tsctl('service', 'scale', 'web')).toMatchObject({
      code: 125,
      stderr: "invalid scale specifier 'web': write SERVICE=REPLICAS, such as web=6\n",
    });
  });
});

describe('service ls and ps', () => {
  beforeEach(() => {
    const status = { RunningTasks: 2, DesiredTasks: 3, CompletedTasks: 0 };
    api
      .on('GET /services', [aService({ ServiceStatus: status })])
      .on('GET /services/web', aService())
      .on('GET /nodes', [aNode(1), aNode(2)])
      .on('GET /tasks', [
        aTask(10),
        aTask(2),
        aTask(1, {
          ID: 'older',
          CreatedAt: '2026-11-21T10:00:00Z',
          DesiredState: 'shutdown',
          Status: {
            State: 'failed',
            Timestamp: '2026-11-21T11:00:00Z',
            Err: 'task: non-zero exit (1): the command said no',
            PortStatus: {},
          },
        }),
        aTask(1),
      ]);
  });

  test("ls has docker's columns", async () => {
    expect((await api.tsctl('service', 'ls')).stdout).toBe(
      'ID             NAME      MODE         REPLICAS   IMAGE            PORTS\n' +
        'serviceaaaaa   web       replicated   2/3        busybox:latest\n',
    );
  });

  test('ls takes formats and filters', async () => {
    expect((await api.tsctl('service', 'ls', '-q')).stdout).toBe(`${aService().ID}\n`);
    expect((await api.tsctl('service', 'ls', '--format', '{{.Name}}: {{.Replicas}}')).stdout).toBe(
      'web: 2/3\n',
    );
    expect((await api.tsctl('service', 'ls', '--format', 'table {{.Name}}\\t{{.Mode}}')).stdout).toBe(
      'NAME      MODE\nweb       replicated\n',
    );
    expect(
      JSON.parse((await api.tsctl('service', 'ls', '--format', 'json', '-f', 'name=w')).stdout),
    ).toMatchObject({
      Name: 'web',
      Replicas: '2/3',
    });
    expect(api.calls.at(-1)?.query.get('filters')).toBe('{"name":["w"]}');
  });

  test('ps shows slots in order, and below each what ran there before', async () => {
    expect((await api.tsctl('service', 'ps', 'web')).stdout).toBe(
      [
        'ID             NAME        IMAGE            NODE      DESIRED STATE   CURRENT STATE              ERROR                              PORTS',
        'task1aaaaaaa   web.1       busybox:latest   host1     Running         Running 5 seconds ago',
        'older           \\_ web.1   busybox:latest   host1     Shutdown        Failed about an hour ago   "task: non-zero exit (1): the …"',
        'task2aaaaaaa   web.2       busybox:latest   host2     Running         Running 5 seconds ago',
        'task10aaaaaa   web.10      busybox:latest   host2     Running         Running 5 seconds ago\n',
      ].join('\n'),
    );
  });

  test('ps in full, as JSON', async () => {
    const { stdout } = await api.tsctl('service', 'ps', 'web', '--format', 'json', '--no-trunc');

    expect(JSON.parse(stdout.split('\n')[1]!)).toEqual({
      ID: 'older',
      Name: 'web.1',
      Image: `busybox:latest@sha256:${'a'.repeat(64)}`,
      Node: 'host1',
      DesiredState: 'Shutdown',
      CurrentState: 'Failed about an hour ago',
      Error: '"task: non-zero exit (1): the command said no"',
      Ports: '',
    });
  });
});

describe('service logs', () => {
  const frame = (stream: number, text: string) => {
    const head = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const origin = `com.docker.swarm.node.id=${aNode(1).ID},com.docker.swarm.service.id=${aService().ID},com.docker.swarm.task.id=${aTask(1).ID}`;

  beforeEach(() => {
    api
      .on('GET /services/web', aService())
      .on('GET /nodes', [aNode(1)])
      .on(`GET /tasks/${aTask(1).ID}`, aTask(1));
  });
  const answer = (...frames: Buffer[]) =>
    api.on(`GET /services/${aService().ID}/logs`, async (_, response) => {
      const bytes = Buffer.concat(frames);
      // Torn anywhere, as networks do.
      for (const cut of [bytes.subarray(0, 11), bytes.subarray(11)]) {
        response.write(cut);
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });

  test('name the task and the node of each line, on the stream it was written to', async () => {
    answer(frame(1, `${origin} out\n`), frame(2, `${origin} err\n`));

    const outcome = await api.tsctl('service', 'logs', '--tail', '5', '--since', '10s', 'web');

    expect(outcome).toEqual({
      code: 0,
      stdout: 'web.1.task1aaaaaaa@host1  | out\n',
      stderr: 'web.1.task1aaaaaaa@host1  | err\n',
    });
    expect(Object.fromEntries(api.calls.find(({ path }) => path.endsWith('/logs'))!.query)).toMatchObject({
      tail: '5',
      follow: 'false',
      details: 'true',
      since: '1795262390.000',
    });
  });

  test('raw and with times', async () => {
    answer(frame(1, `2026-11-21T00:00:00.000000001Z ${origin} a b\n`));

    expect((await api.tsctl('service', 'logs', '--raw', '-t', 'web')).stdout).toBe(
      '2026-11-21T00:00:00.000000001Z a b\n',
    );
  });

  test('what is missing is told, and makes it fail', async () => {
    answer(frame(1, `${origin} out\n`), frame(3, 'warning: incomplete log stream'));

    const outcome = await api.tsctl('service', 'logs', '--raw', 'web');

    expect(outcome).toEqual({
      code: 1,
      stdout: 'out\n',
      stderr: 'error from daemon in stream: warning: incomplete log stream\n',
    });
  });

  test('of nothing', async () => {
    expect(await api.tsctl('service', 'logs', 'nope')).toMatchObject({
      code: 1,
      stderr: 'no such task or service: nope\n',
    });
  });
});
