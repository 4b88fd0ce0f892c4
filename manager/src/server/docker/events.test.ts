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
