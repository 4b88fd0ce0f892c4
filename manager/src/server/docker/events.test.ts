import { Event } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiFixture, type Json } from '../testing/api-fixture.js';
import { FakeContainers } from '../testing/fake-containers.js';
import { RawClient } from '../testing/raw-client.js';

let api: ApiFixture;
let agents: FakeContainers;

beforeEach(async () => {
  api = await ApiFixture.start();
  agents = new FakeContainers(api);
  await api.addImage();
});
afterEach(async () => {
  agents[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

/** Everything that has happened so far. */
const past = async (filters: object = {}): Promise<Json[]> => {
  const until = (api.deps.clock.now() + 1) / 1_000;
  const { text } = await api.call(
    'GET',
    `/events?since=1&until=${until}&filters=${encodeURIComponent(JSON.stringify(filters))}`,
  );
  return text
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Json);
};
const words = async (filters: object = {}) =>
  (await past(filters)).map(({ Type, Action }) => `${Type} ${Action}`);

const run = async (name: string, body: object = {}): Promise<void> => {
  await api.call('POST', `/containers/create?name=${name}`, { Image: 'busybox', ...body });
  await api.call('POST', `/containers/${name}/start`);
};

test("a container's life is told in order, die before destroy, with its exit code", async () => {
  await run('web', { Labels: { shop: 'a' } });
  await api.call('POST', '/containers/web/pause');
  await api.call('POST', '/containers/web/unpause');
  await api.call('POST', '/containers/web/rename?name=db');
  await agents.exit('db', 7);
  await api.call('DELETE', '/containers/db');

  const events = await past({ type: ['container'] });
  expect(events.map(({ Action }) => Action)).toEqual([
    'create',
    'start',
    'pause',
    'unpause',
    'rename',
    'die',
    'destroy',
  ]);
  expect(events.at(-2)).toMatchObject({
    status: 'die',
    from: 'busybox',
    scope: 'local',
    Actor: { Attributes: { exitCode: '7', name: 'db', shop: 'a', image: 'busybox' } },
  });
});

test('one that ended and began again between two reports did both', async () => {
  await run('web');
  const { starts, exits } = api.store
    .view()
    .containerStates.get(api.store.view().containers.byName('web')!.id)!;

  await agents.report('web', { starts: starts + 2, exits: exits + 2 });

  expect(await words({ container: ['web'] })).toEqual([
    'container create',
    'container start',
    'container die',
    'container start',
    'container die',
    'container start',
  ]);
});

test('what its agent writes down is told once, in its place among starts and ends', async () => {
  await run('web');
  const { id } = api.store.view().containers.byName('web')!;
  const { sequence, starts } = api.store.view().containerStates.get(id)!;
  const at = api.deps.clock.now();
  const event = (number: number, action: string, atMs: number, attributes = {}) =>
    Event.fromPartial({ number, action, atMs, attributes });
  const kill = event(sequence + 1, 'kill', at, { signal: '15' });

  await agents.report('web', { events: [event(sequence, 'top', at), kill] });
  await agents.report('web', {
    state: 'exited',
    exits: starts,
    exitCode: 143,
    finishedAtMs: at,
    events: [kill, event(sequence + 2, 'exec_die', at + 1, { execID: 'e1', exitCode: '0' })],
  });

  const events = await past({ type: ['container'], event: ['kill', 'die', 'exec_die', 'top'] });
  expect(events.map(({ Action }) => Action)).toEqual(['kill', 'die', 'exec_die']);
  expect(events[0]).toMatchObject({ Actor: { Attributes: { signal: '15', name: 'web' } } });
});

test('who copies from a container mounts its volumes, which are told of as such', async () => {
  await run('web', { HostConfig: { Binds: ['data:/d:ro'] } });
  const { id } = api.store.view().containers.byName('web')!;
  const { sequence } = api.store.view().containerStates.get(id)!;
  const at = api.deps.clock.now();

  await agents.report('web', {
    events: ['mount', 'archive-path', 'unmount'].map((action, number) =>
      Event.fromPartial({ number: sequence + 1 + number, action, atMs: at }),
    ),
  });

  const events = await past({ event: ['mount', 'archive-path', 'unmount'] });
  expect(events.map(({ Type, Action, Actor }) => [Type, Action, Actor.ID])).toEqual([
    ['volume', 'mount', 'data'],
    ['volume', 'mount', 'data'],
    ['container', 'archive-path', id],
    ['volume', 'unmount', 'data'],
  ]);
  expect(events[1]).toMatchObject({ Actor: { Attributes: { container: id, 'read/write': 'false' } } });
});

test('a container is on its networks while it runs, and its end says where it was', async () => {
  await api.call('POST', '/networks/create', { Name: 'shop', Driver: 'overlay', Attachable: true });
  await run('web', { HostConfig: { NetworkMode: 'shop' } });
  await agents.exit('web', 0);
  await api.call('DELETE', '/containers/web');

  const events = await past({ type: ['container', 'network'] });
  expect(events.map(({ Type, Action }) => `${Type} ${Action}`)).toEqual([
    'network create',
    'container create',
    'network connect',
    'container start',
    'container die',
    'network disconnect',
    'container destroy',
  ]);
  expect(events[2]).toMatchObject({
    scope: 'swarm',
    Actor: { Attributes: { name: 'shop', type: 'overlay', container: events[1]!.Actor.ID } },
  });
  const { Attributes } = events.at(-1)!.Actor;
  expect(Attributes).toMatchObject({ name: 'web', 'node.name': expect.stringMatching(/^host/) });
  expect(Object.keys(Attributes)).toEqual(expect.arrayContaining(['node.id', 'node.ip', 'node.addr']));
});

test('what happens while a client listens reaches it at once', async () => {
  const client = await RawClient.open(api.socketPath);
  client.ask('GET', '/events', { upgrade: false });
  await client.head();

  await run('web');

  await client.saw('"Action":"start"');
  client.destroy();
  expect((await client.rest()).toString()).toMatch(/"Action":"create".*"timeNano":\d{19}\}/);
});

test('filters choose by type, event, name, label, image and node', async () => {
  await run('web', { Env: ['constraint:node==host2'], Labels: { tier: 'front' } });
  await run('db', { Env: ['constraint:node==host1'] });
  await agents.exit('db', 1);
  await agents.report('web', { health: { status: 'healthy', failingStreak: 0, log: [] } });

  expect(await words({ event: ['die'] })).toEqual(['container die']);
  expect(await words({ event: ['health_status'] })).toEqual(['container health_status: healthy']);
  expect(await words({ node: ['host1'], event: ['start', 'die'] })).toEqual([
    'container start',
    'container die',
  ]);
  expect(await words({ label: ['tier=front'], event: ['start'] })).toEqual(['container start']);
  expect((await past({ image: ['busybox'], event: ['start'] })).length).toBe(2);
  expect(await words({ image: ['busy'] })).toEqual([]);
  expect(await words({ container: ['host1/db'], event: ['start'] })).toEqual(['container start']);
  expect(await words({ container: ['host1/web'] })).toEqual([]);
  await api.call('POST', '/images/busybox/tag?repo=box&tag=1');
  expect(await words({ type: ['image'] })).toEqual(['image tag']);
  expect(await words({ volume: ['x'] })).toEqual([]);
  expect((await api.call('GET', '/events?filters={"nonsense":["x"]}')).status).toBe(400);
  expect((await api.call('GET', '/events?since=yesterday')).status).toBe(400);
});

test('services, networks and nodes are told of as well, of the whole cluster', async () => {
  await api.call('POST', '/networks/create', { Name: 'shop', Driver: 'overlay' });
  await api.call('DELETE', '/networks/shop');
  await api.store.update((tx) => tx.put('nodes', { ...tx.nodes.get('node-2')!, availability: 'drain' }));

  expect(await words({ scope: ['swarm'] })).toEqual(['network create', 'network destroy', 'node update']);
});
