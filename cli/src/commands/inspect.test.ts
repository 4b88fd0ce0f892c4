import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeApi, reply } from '../testing/fake-api.js';
import { aNode, aService, aTask } from '../testing/samples.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

describe('several names, of which one is not there', () => {
  test.each([
    ['service', 'web', '/services/web', aService(), 'no such service: nosuch'],
    ['node', 'host1', '/nodes/host1', aNode(1), 'Error response from daemon: /nodes/nosuch not found'],
    ['task', 'web.1', '/tasks/web.1', aTask(1), 'Error response from daemon: /tasks/nosuch not found'],
    [
      'network',
      'shop',
      '/networks/shop',
      { Id: 'n1', Name: 'shop' },
      'Error response from daemon: /networks/nosuch not found',
    ],
    [
      'image',
      'team/box:1',
      '/images/team/box:1/json',
      { Id: 'sha256:c' },
      'Error response from daemon: /images/nosuch/json not found',
    ],
  ])('%s inspect shows the others, and fails', async (noun, name, path, object, message) => {
    api.on(`GET ${path}`, object);

    const { code, stdout, stderr } = await api.tsctl(noun, 'inspect', 'nosuch', name);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual([JSON.parse(JSON.stringify(object))]);
    expect(stderr).toBe(`${message}\n`);
  });

  test('service ps and node ps list the tasks of the others, and fail', async () => {
    api.on('GET /services/web', aService()).on('GET /services', [aService()]);
    api.on('GET /nodes/host1', aNode(1)).on('GET /nodes', [aNode(1), aNode(2)]);
    api.on('GET /tasks', [aTask(1)]);

    const services = await api.tsctl('service', 'ps', 'web', 'nosuch');
    const nodes = await api.tsctl('node', 'ps', 'nosuch', 'host1');

    expect(services).toMatchObject({ code: 1, stderr: 'no such service: nosuch\n' });
    expect(services.stdout).toContain('web.1');
    expect(nodes).toMatchObject({
      code: 1,
      stderr: 'Error response from daemon: /nodes/nosuch not found\n',
    });
    expect(nodes.stdout).toContain('web.1');
    const asked = api.calls.filter(({ path }) => path === '/tasks').map(({ query }) => query.get('filters'));
    expect(asked).toEqual([`{"service":["${aService().ID}"]}`, `{"node":["${aNode(1).ID}"]}`]);
  });

  test('with none of them there, nothing is listed, and never the tasks of all', async () => {
    api.on('GET /tasks', [aTask(1)]);

    expect(await api.tsctl('service', 'ps', 'a', 'b')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'no such service: a\nno such service: b\n',
    });
    expect((await api.tsctl('node', 'ps', 'a')).stdout).toBe('');
    expect((await api.tsctl('service', 'inspect', 'a')).stdout).toBe('[]\n');
  });

  test('an API that fails is told once, and in its own words', async () => {
    for (const name of ['a', 'b'])
      api.on(`GET /services/${name}`, (_, response) => reply(response, 503, { message: 'no leader' }));

    expect(await api.tsctl('service', 'ps', 'a', 'b')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Error response from daemon: no leader\n',
    });
    expect(await api.tsctl('-H', 'unix:///nowhere.sock', 'node', 'inspect', 'a', 'b')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Cannot connect to Tessera at unix:///nowhere.sock. Is tsd running on that host?\n',
    });
  });
});

describe('--pretty', () => {
  test('shows a service in the form of docker', async () => {
    const service = aService();
    api.on('GET /networks', [{ Id: 'net1id', Name: 'shop' }]).on('GET /services/web', {
      ...service,
      Spec: {
        ...service.Spec,
        Labels: { z: '', a: 'b' },
        TaskTemplate: {
          ...service.Spec.TaskTemplate,
          Resources: { Limits: { NanoCPUs: 5e8, MemoryBytes: 64 * 2 ** 20, Pids: 50 }, Reservations: {} },
          Placement: {
            Constraints: ['node.role==worker'],
            Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
            MaxReplicas: 4,
          },
        },
        UpdateConfig: { Parallelism: 2, Delay: 90e9, FailureAction: 'pause', Order: 'stop-first' },
      },
      UpdateStatus: { State: 'completed', StartedAt: '2026-11-21T11:59:00Z', Message: 'update completed' },
    });

    const { code, stdout } = await api.tsctl('service', 'inspect', '--pretty', 'web');

    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'ID:\t\tserviceaaaaaaaaaaaaaaaaaa',
        'Name:\t\tweb',
        'Labels:',
        ' a=b',
        ' z',
        'Service Mode:\tReplicated',
        ' Replicas:\t3',
        'UpdateStatus:',
        ' State:\t\tcompleted',
        ' Started:\tabout a minute ago',
        ' Message:\tupdate completed',
        'Placement:',
        ' Constraints:\t[node.role==worker]',
        ' Preferences:   [spread=node.labels.zone]',
        ' Max Replicas Per Node:   4',
        'UpdateConfig:',
        ' Parallelism:\t2',
        ' Delay:\t\t1m30s',
        ' On failure:\tpause',
        ' Max failure ratio: 0',
        ' Update order:      stop-first',
        'ContainerSpec:',
        ` Image:\t\tbusybox:latest@sha256:${'a'.repeat(64)}`,
        ' Env:\t\tA=1 B=2',
        'Resources:',
        ' Limits:',
        '  CPU:\t\t0.5',
        '  Memory:\t64MiB',
        '  PIDs:\t\t50',
        'Networks: shop',
        'Endpoint Mode:\tvip',
        '',
      ].join('\n'),
    );
  });

  test('shows nodes, one below the other', async () => {
    api.on('GET /nodes/host1', {
      ...aNode(1, {
        Spec: { Name: 'host1', Role: 'manager', Availability: 'active', Labels: { zone: 'a' } },
      }),
      ManagerStatus: { Leader: true, Reachability: 'reachable', Addr: '10.0.0.1:2377' },
    });
    api.on('GET /nodes/host2', aNode(2));

    const { code, stdout } = await api.tsctl('node', 'inspect', '--pretty', 'host1', 'host2');

    expect(code).toBe(0);
    const [first, second] = stdout.split('\n\n');
    expect(first).toContain('Labels:\n - zone=a\nHostname:\t\thost1\n');
    expect(first).toContain('Manager Status:\n Address:\t\t10.0.0.1:2377\n Reachability:\t\tReachable\n');
    expect(first).toContain(' CPUs:\t\t\t1\n Memory:\t\t1GiB\n');
    expect(second).toMatch(/^ID:\t\t\tnode2/);
    expect(second).not.toContain('Manager Status');
  });

  test('and a format at once are refused', async () => {
    const { code, stderr } = await api.tsctl('node', 'inspect', '--pretty', '--format', 'json', 'self');

    expect(code).toBe(125);
    expect(stderr).toContain('--format is incompatible with human friendly format');
  });
});

describe('a template with a field that is not there', () => {
  test.each([
    [
      ['service', 'inspect', 'web', '--format', '{{.Spec.Nope}}'],
      "can't evaluate field Nope; there are Name,",
    ],
    [['service', 'ls', '--format', '{{.Nope}}'], "can't evaluate field Nope; there are ID, Name, Mode"],
    [['service', 'ls', '--format', 'table {{.Nope}}'], "can't evaluate field Nope"],
    // A list's fields are all there: what only other objects leave out is an error here.
    [['service', 'ls', '--format', '{{.Slot}}'], "can't evaluate field Slot"],
    [['node', 'ls', '--format', '{{.Nope}}'], "can't evaluate field Nope"],
  ])('tsctl %s fails', async (words, message) => {
    api.on('GET /services/web', aService()).on('GET /services', [aService()]);
    api.on('GET /nodes', [aNode(1)]).on('GET /info', { Swarm: { NodeID: aNode(1).ID } });

    const { code, stdout, stderr } = await api.tsctl(...words);

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
  });

  test('shows a field that is only empty', async () => {
    api.on('GET /services/web', aService());

    const format = '{{.UpdateStatus}} {{.Spec.TaskTemplate.ContainerSpec.Dir}} {{.Spec.Labels.x}}';
    expect(await api.tsctl('service', 'inspect', 'web', '--format', format)).toEqual({
      code: 0,
      stdout: '<no value> <no value> <no value>\n',
      stderr: '',
    });
  });
});

test.each([
  [[], 'Usage: tsctl [options] [command]'],
  [['-H', 'unix:///nowhere.sock'], 'Usage: tsctl [options] [command]'],
  [['service'], 'Usage: tsctl service [options] [command]'],
])('tsctl %s shows what there is, and that is no failure', async (words, usage) => {
  const { code, stdout, stderr } = await api.tsctl(...words);

  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(usage);
});
