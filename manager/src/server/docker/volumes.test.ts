import { VolumeState } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ApiFixture, type Json } from '../testing/api-fixture.js';
import { FakeContainers } from '../testing/fake-containers.js';

let api: ApiFixture;
let agents: FakeContainers;

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

const create = async (name: string, host: object, more: object = {}) =>
  api.call('POST', `/containers/create?name=${name}`, { Image: 'busybox', HostConfig: host, ...more });
const nodeOf = async (name: string): Promise<string> =>
  ((await api.call('GET', `/containers/${name}/json`)).body as Json).Node.Name;
const names = async (filters: object = {}): Promise<string[]> => {
  const query = encodeURIComponent(JSON.stringify(filters));
  const { body } = await api.call('GET', `/volumes?filters=${query}`);
  return (body as Json).Volumes.map(({ Name }: Json) => Name);
};

test('a volume has no node until a container names it, and then pins all that do', async () => {
  const made = await api.call('POST', '/volumes/create', { Name: 'data', Labels: { a: 'b' } });
  expect(made).toMatchObject({
    status: 201,
    body: {
      Name: 'data',
      Driver: 'local',
      Scope: 'local',
      Labels: { a: 'b' },
      Options: null,
      Mountpoint: '',
    },
  });

  await create('first', { Binds: ['data:/data'] });
  const node = await nodeOf('first');
  for (const name of ['second', 'third', 'fourth']) {
    expect(await create(name, { Binds: ['data:/data:ro'] })).toMatchObject({ status: 201 });
    expect(await nodeOf(name)).toBe(node);
  }
  await vi.waitFor(
    async () =>
      expect((await api.call('GET', '/volumes/data')).body).toMatchObject({
        Status: { Node: node },
        Mountpoint: '/volumes/data/_data',
      }),
    PATIENT,
  );
  expect(await names({ node: [node] })).toEqual(['data']);
  expect(await names({ dangling: ['true'] })).toEqual([]);
});

test('a volume whose node is down is named with it', async () => {
  await create('first', { Binds: ['data:/data'] });
  const node = await nodeOf('first');
  await api.store.update((tx) => {
    for (const status of tx.nodeStatuses.all())
      if (status.description?.hostname === node) tx.put('nodeStatuses', { ...status, state: 'down' });
  });

  expect(await create('second', { Binds: ['data:/data'] })).toMatchObject({
    status: 409,
    body: { message: expect.stringContaining(`volume data is on node ${node}, which is down`) },
  });
  expect(await create('third', { Binds: ['other:/data'] })).toMatchObject({ status: 201 });
});

test('a volume in use is not removed; an anonymous one goes with its container where that is asked for', async () => {
  const { body } = await create('web', { Binds: ['data:/data'] }, { Volumes: { '/cache': {} } });
  const { Id } = body as Json;
  expect(await api.call('DELETE', '/volumes/data')).toMatchObject({
    status: 409,
    body: { message: `remove data: volume is in use - [${Id}]` },
  });
  const shown = (await api.call('GET', '/containers/web/json')).body as Json;
  expect(shown).toMatchObject({
    Config: { Volumes: { '/cache': {} } },
    HostConfig: { Binds: ['data:/data'] },
    Mounts: [
      {
        Type: 'volume',
        Name: 'data',
        Destination: '/data',
        Driver: 'local',
        Mode: 'z',
        RW: true,
        Propagation: '',
      },
      { Type: 'volume', Name: expect.stringMatching(/^[0-9a-f]{64}$/), Destination: '/cache', Mode: '' },
    ],
  });
  expect(await names({ label: ['com.docker.volume.anonymous'] })).toEqual([shown.Mounts[1].Name]);

  expect(await api.call('DELETE', '/containers/web?v=1')).toMatchObject({ status: 204 });

  expect(await names()).toEqual(['data']);
  expect(await api.call('DELETE', '/volumes/data')).toMatchObject({ status: 204 });
  expect(await names()).toEqual([]);
  expect(await api.call('DELETE', '/volumes/data')).toMatchObject({
    status: 404,
    body: { message: 'get data: no such volume' },
  });
  expect(await api.call('DELETE', '/volumes/data?force=1')).toMatchObject({ status: 204 });
  await vi.waitFor(() => expect(api.store.view().volumes.size).toBe(0), PATIENT);
  expect(api.store.view().volumeStates.size).toBe(0);
});

test('volumes of another container come with it, to its node, by another right if need be', async () => {
  await create('web', { Binds: ['data:/data', '/srv:/srv'] });

  expect(await create('backup', { VolumesFrom: ['web:ro'] })).toMatchObject({ status: 201 });

  expect((await api.call('GET', '/containers/backup/json')).body).toMatchObject({
    Node: { Name: await nodeOf('web') },
    HostConfig: { VolumesFrom: ['web:ro'], Binds: null },
    Mounts: [
      { Name: 'data', Destination: '/data', RW: false },
      { Source: '/srv', Destination: '/srv', RW: false },
    ],
  });
});

test('what nodes have for themselves is listed with them, and removed by that name', async () => {
  const nodes = [...api.store.view().nodeStatuses.all()].slice(0, 2);
  await api.store.update((tx) => {
    for (const { nodeId } of nodes)
      tx.put(
        'volumeStates',
        VolumeState.fromPartial({ nodeId, name: 'shared', driver: 'local', sequence: 1 }),
      );
  });
  const labels = nodes.map(({ description }) => `${description!.hostname}/shared`).sort();
  expect(await names()).toEqual(labels);
  expect((await api.call('GET', '/volumes/shared')).body).toMatchObject({
    message: expect.stringContaining('is ambiguous'),
  });

  expect(await api.call('DELETE', `/volumes/${encodeURIComponent(labels[0]!)}`)).toMatchObject({
    status: 204,
  });

  expect(await names()).toEqual(['shared']);
  // A container that names it goes to the node that has it.
  await create('web', { Binds: ['shared:/x'] });
  expect(`${await nodeOf('web')}/shared`).toBe(labels[1]);
});

test('prune takes what nobody has named, and the others where that is asked for', async () => {
  const anonymous = ((await api.call('POST', '/volumes/create', {})).body as Json).Name;
  await api.call('POST', '/volumes/create', { Name: 'named' });

  expect((await api.call('POST', '/volumes/prune')).body).toEqual({
    VolumesDeleted: [anonymous],
    SpaceReclaimed: 0,
  });
  const all = encodeURIComponent('{"all":["true"]}');
  expect((await api.call('POST', `/volumes/prune?filters=${all}`)).body).toMatchObject({
    VolumesDeleted: ['named'],
  });
});

test('options and drivers that there are not are refused in the words of Docker', async () => {
  const refused: [object, number, string][] = [
    [{ Name: 'x1', DriverOpts: { foo: 'bar' } }, 400, 'create x1: invalid option: "foo"'],
    [{ Name: 'x1', DriverOpts: { type: 'nfs' } }, 400, 'create x1: missing required option: "device"'],
    [
      { Name: 'x1', Driver: 'odd' },
      404,
      'create x1: error looking up volume plugin odd: plugin "odd" not found',
    ],
    [{ Name: 'x' }, 400, 'create x: volume name is too short, names should be at least two'],
    [{ Name: '../x' }, 400, 'includes invalid characters for a local volume name'],
  ];
  for (const [body, status, message] of refused)
    expect(await api.call('POST', '/volumes/create', body)).toMatchObject({
      status,
      body: { message: expect.stringContaining(message) },
    });
});

test('the API’s socket is given on managers, and to nobody where the policy says so', async () => {
  const socket = { Binds: ['/var/run/docker.sock:/var/run/docker.sock'] };
  expect(await create('ryuk', socket)).toMatchObject({ status: 201 });
  const { nodes, nodeStatuses } = api.store.view();
  const managers = [...nodes.all()].filter(({ role }) => role === 'manager');
  expect(managers.map(({ id }) => nodeStatuses.get(id)?.description?.hostname)).toContain(
    await nodeOf('ryuk'),
  );

  expect(await api.call('POST', '/tessera/v1/cluster/update', { apiSocket: 'nobody' })).toMatchObject({
    status: 204,
  });

  expect(await create('other', socket)).toMatchObject({
    status: 403,
    body: { message: expect.stringContaining("the cluster's policy gives its API to no container") },
  });
});
