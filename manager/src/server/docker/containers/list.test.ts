import { systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiFixture, anImage, type Json } from '../../testing/api-fixture.js';
import { FakeContainers } from '../../testing/fake-containers.js';
import { statusText } from './status.js';

let api: ApiFixture;
let agents: FakeContainers;
const ids = new Map<string, string>();

const create = async (name: string, body: object = {}): Promise<void> => {
  const answer = await api.call('POST', `/containers/create?name=${name}`, { Image: 'busybox', ...body });
  ids.set(name, (answer.body as { Id: string }).Id);
};
const list = async (filters: object = {}, query = 'all=1'): Promise<string[]> => {
  const answer = await api.call(
    'GET',
    `/containers/json?${query}&filters=${encodeURIComponent(JSON.stringify(filters))}`,
  );
  expect(answer).toMatchObject({ status: 200 });
  return (answer.body as Json[]).map(({ Names }) => (Names as string[])[0]!.slice(1));
};

beforeAll(async () => {
  api = await ApiFixture.start();
  agents = new FakeContainers(api);
  await api.addImage();
  await api.addImage('docker.io/library/redis:7', `sha256:${'b'.repeat(64)}`);
  await create('oldest', { Labels: { tier: 'front', shop: 'a' }, Env: ['constraint:node==host2'] });
  await create('cache', { Image: 'redis:7', ExposedPorts: { '6379/tcp': {} } });
  await create('web', { Labels: { tier: 'back' }, HostConfig: { Binds: ['/srv:/data'] } });
  await create('worker', { HostConfig: { NetworkMode: 'none' } });
  for (const name of ['cache', 'web']) await api.call('POST', `/containers/${name}/start`);
  await api.call('POST', '/containers/worker/start');
  await agents.exit('worker', 3);
  await agents.report('web', {
    ports: [{ protocol: 'tcp', containerPort: 80, hostIp: '0.0.0.0', hostPort: 8080 }],
    health: { status: 'healthy', failingStreak: 0, log: [] },
  });
});
afterAll(async () => {
  agents[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

describe('docker ps', () => {
  test('shows what runs, newest first, and everything with all, limit, or a status', async () => {
    expect(await list({}, '')).toEqual(['web', 'cache']);
    expect(await list()).toEqual(['worker', 'web', 'cache', 'oldest']);
    expect(await list({}, 'limit=2')).toEqual(['worker', 'web']);
    expect(await list({ status: ['exited'] }, '')).toEqual(['worker']);
  });

  test.each<[object, string[]]>([
    [{ name: ['we'] }, ['web']],
    [{ name: ['^/web$'] }, ['web']],
    [{ label: ['tier'] }, ['web', 'oldest']],
    [{ label: ['tier=front', 'shop=a'] }, ['oldest']],
    [{ status: ['running', 'created'] }, ['web', 'cache', 'oldest']],
    [{ ancestor: ['redis:7'] }, ['cache']],
    [{ ancestor: ['nosuch'] }, []],
    [{ before: ['web'] }, ['cache', 'oldest']],
    [{ since: ['cache'] }, ['worker', 'web']],
    [{ exited: ['3'] }, ['worker']],
    [{ exited: ['0'] }, []],
    [{ health: ['healthy'] }, ['web']],
    [{ network: ['none'] }, ['worker']],
    [{ node: ['host2'], name: ['oldest'] }, ['oldest']],
    [{ node: ['host9'] }, []],
    [{ volume: ['/data'] }, ['web']],
    [{ publish: ['8000-9000'] }, ['web']],
    [{ publish: ['8080/udp'] }, []],
    [{ publish: ['8080'], isolation: ['default'] }, ['web']],
    [{ expose: ['6379'] }, ['cache']],
    [{ 'is-task': ['false'] }, ['worker', 'web', 'cache', 'oldest']],
    [{ 'is-task': ['true'] }, []],
  ])('filters %j', async (filters, expected) => {
    expect(await list(filters)).toEqual(expected);
  });

  test('by id, or a beginning of it', async () => {
    expect(await list({ id: [ids.get('web')!.slice(0, 12)] })).toEqual(['web']);
  });

  test('filters that mean nothing are refused', async () => {
    expect(
      await api.call('GET', `/containers/json?filters=${encodeURIComponent('{"name":"web"}')}`),
    ).toMatchObject({
      status: 400,
      body: { message: `invalid filter 'name': write {"name":["VALUE"]}, not "web"` },
    });
    for (const filters of [
      { nonsense: ['x'] },
      { status: ['sleeping'] },
      { health: ['fine'] },
      { exited: ['no'] },
      { publish: ['http'] },
      { publish: ['99999'] },
      { publish: ['9000-8000'] },
      { before: ['nosuch'] },
    ]) {
      const text = encodeURIComponent(JSON.stringify(filters));
      const { status } = await api.call('GET', `/containers/json?filters=${text}`);
      expect(status, JSON.stringify(filters)).toBeGreaterThanOrEqual(400);
    }
  });

  test('a line has what the docker CLI shows', async () => {
    const { body } = await api.call('GET', '/containers/json');
    const { body: web } = await api.call('GET', '/containers/web/json');
    const { IP } = (web as { Node: { IP: string } }).Node;
    expect(IP).toMatch(/^10\.0\.0\.\d$/);
    expect(web).toMatchObject({
      NetworkSettings: { Ports: { '80/tcp': [{ HostIp: IP, HostPort: '8080' }] } },
    });
    expect((body as Json[])[0]).toMatchObject({
      Id: ids.get('web'),
      Names: ['/web'],
      Image: 'busybox',
      ImageID: anImage(`sha256:${'a'.repeat(64)}`, []).configDigest,
      State: 'running',
      Status: expect.stringMatching(/^Up .* \(healthy\)$/),
      Ports: [{ IP, PrivatePort: 80, PublicPort: 8080, Type: 'tcp' }],
      Labels: { tier: 'back' },
      HostConfig: { NetworkMode: 'default' },
      Mounts: [{ Type: 'bind', Source: '/srv', Destination: '/data' }],
    });
  });
});

test('docker info has a line for each node, with what is there and what is reserved', async () => {
  await create('reserving', {
    Env: ['constraint:node==host2'],
    HostConfig: { MemoryReservation: 64 * 2 ** 20 },
  });
  const { body } = await api.call('GET', '/info');
  await api.call('DELETE', '/containers/reserving');

  const lines = new Map((body as { DriverStatus: [string, string][] }).DriverStatus);
  expect([...lines.keys()]).toEqual(['Nodes', ' host1', ' host2', ' host3']);
  expect(lines.get('Nodes')).toBe('3');
  expect(lines.get(' host2')).toBe(
    '10.0.0.2; worker, ready, active; 2 containers; 0 of 4 CPUs and 64MiB of 8GiB reserved',
  );
});

test('a status says since when, and how it ended', async () => {
  const nowMs = systemClock.now();
  const state = api.store.view().containerStates.get(ids.get('worker')!)!;
  const say = (part: object, isRemoving = false) =>
    statusText(
      { ...state, startedAtMs: nowMs - 5_000, finishedAtMs: nowMs - 3_000, ...part },
      isRemoving,
      nowMs,
    );

  expect(say({ state: 'exited' })).toBe('Exited (3) 3 seconds ago');
  expect(say({ state: 'running' })).toBe('Up 5 seconds');
  expect(say({ state: 'paused' })).toBe('Up 5 seconds (Paused)');
  expect(say({ state: 'restarting' })).toBe('Restarting (3) 3 seconds ago');
  expect(say({ state: 'created' })).toBe('Created');
  expect(say({ state: 'exited' }, true)).toBe('Removal In Progress');
});

test('no expression takes longer than its length says', async () => {
  await create('a'.repeat(60));
  // A thousand years in an engine that goes back and tries again.
  const filters = encodeURIComponent(JSON.stringify({ name: ['^/(a+)+!$', '(a|aa)+!', '(.*)*!'] }));
  const { body } = await api.call('GET', `/containers/json?all=1&filters=${filters}`);
  expect(body).toEqual([]);
});
