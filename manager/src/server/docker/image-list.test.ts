import { normalizeName } from '@tessera/shared/image-reference';
import { Container, ContainerState, type Image } from '@tessera/shared/model';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiFixture, anImage } from '../testing/api-fixture.js';
import { matchesPath } from './path-match.js';

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
  api.onStream = async function* () {};
});
afterEach(() => api[Symbol.asyncDispose]());

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const base = digest('1');

/** An image made on a day, of layers that hold so many bytes each. */
function image(digit: string, tags: readonly string[], day: number, more: Partial<Image> = {}): Image {
  const layers = [base, digest(digit)];
  const config = {
    created: `2026-01-0${day}T00:00:00Z`,
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { day: String(day) }, Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: layers },
    history: [
      { created: '2026-01-01T00:00:00Z', created_by: 'ADD base' },
      { created: '2026-01-01T00:00:00Z', created_by: 'ENV A=1', empty_layer: true },
      { created: `2026-01-0${day}T00:00:00Z`, created_by: 'COPY app', comment: 'the app' },
    ],
  };
  return {
    ...anImage(digest(digit), tags.map(normalizeName)),
    configDigest: digest(digit === 'a' ? 'd' : digit === 'b' ? 'e' : 'f'),
    config: Buffer.from(JSON.stringify(config)),
    layerBytes: [1_000, 30],
    sizeBytes: 1_030,
    ...more,
  };
}

const put = (...images: readonly Image[]) =>
  api.store.update((tx) => {
    for (const each of images) {
      tx.put('images', each);
      for (const name of each.names) tx.takeClaim(`name/image/${name}`, `image/${each.id}`);
    }
  });
const container = (id: string, imageDigest: string, state: ContainerState['state']) =>
  api.store.update((tx) => {
    tx.put('containers', Container.fromPartial({ id, name: `of-${id[0]}`, spec: { imageDigest } }));
    tx.put('containerStates', ContainerState.fromPartial({ containerId: id, state }));
  });
const list = async (filters: object = {}, query = '', version = '1.50') => {
  const text = encodeURIComponent(JSON.stringify(filters));
  const answer = await api.call('GET', `/v${version}/images/json?filters=${text}${query}`);
  return answer.body as { readonly RepoTags: string[]; readonly Id: string }[];
};
const shown = async (filters: object = {}, query = '') =>
  (await list(filters, query)).flatMap(({ RepoTags, Id }) => [RepoTags.join() || Id.slice(7, 11)]);

const app = () => image('a', ['app:1', 'app:2'], 2);
const tool = () => image('b', ['team/tool:latest'], 3, { parentId: app().configDigest });
const nameless = () => image('c', [], 4);

describe('a list of images', () => {
  beforeEach(() => put(app(), tool(), nameless()));

  test('has the newest first', async () => {
    expect(await shown()).toEqual(['ffff', 'team/tool:latest', 'app:1,app:2']);
  });

  test.each([
    [{ reference: ['app'] }, ['app:1,app:2']],
    [{ reference: ['app:2'] }, ['app:2']],
    [{ reference: ['a*:[13]', 'team/*'] }, ['team/tool:latest', 'app:1']],
    [{ reference: ['*'] }, ['app:1,app:2']],
    [{ label: ['day=3'] }, ['team/tool:latest']],
    [{ label: ['day', 'day=4'] }, ['ffff']],
    [{ dangling: ['true'] }, ['ffff']],
    [{ dangling: ['false'] }, ['team/tool:latest', 'app:1,app:2']],
    [{ before: ['team/tool'] }, ['app:1,app:2']],
    [{ since: ['app:1'] }, ['ffff', 'team/tool:latest']],
    [{ until: ['2026-01-02T12:00:00Z'] }, ['app:1,app:2']],
  ])('filtered by %j is %j', async (filters, expected) => {
    expect(await shown(filters)).toEqual(expected);
  });

  test.each([
    [{ dangling: ['perhaps'] }, 400, "invalid filter 'dangling=[perhaps]'"],
    [{ before: ['nginx'] }, 404, 'No such image: nginx'],
    [{ reference: ['a['] }, 400, 'syntax error in pattern'],
    [{ until: ['soon'] }, 400, 'until'],
    [{ colour: ['red'] }, 400, "invalid filter 'colour'"],
  ])('filtered by %j is refused', async (filters, status, message) => {
    const text = encodeURIComponent(JSON.stringify(filters));

    expect(await api.call('GET', `/images/json?filters=${text}`)).toMatchObject({
      status,
      body: { message: expect.stringContaining(message) },
    });
  });

  test('says what an image shares with others, and who uses it, when it is asked', async () => {
    await container('9'.repeat(64), app().id, 'exited');

    const [, , plain] = await list();
    const [, , full] = await list({}, '&shared-size=1&manifests=1');

    expect(plain).toMatchObject({ Size: 1_030, SharedSize: -1, Containers: 1, ParentId: '' });
    expect(plain).not.toHaveProperty('Manifests');
    expect(full).toMatchObject({
      SharedSize: 1_000,
      Descriptor: { digest: app().id },
      Manifests: [
        {
          ID: app().id,
          Available: true,
          Kind: 'image',
          ImageData: {
            Platform: { os: 'linux', architecture: 'amd64' },
            Containers: ['9'.repeat(64)],
            Size: { Unpacked: 1_030 },
          },
        },
      ],
    });
  });

  test('is as older clients know it', async () => {
    const [old] = await list({}, '', '1.41');

    expect(old).toMatchObject({
      RepoTags: ['<none>:<none>'],
      RepoDigests: ['<none>@<none>'],
      VirtualSize: 1_030,
    });
    expect(old).not.toHaveProperty('Descriptor');
  });

  test('leaves out what is only the base of another, unless all are asked for', async () => {
    await put(image('c', [], 4, { id: digest('7'), configDigest: digest('8') }));
    await put({ ...tool(), parentId: digest('8') });

    expect(await shown()).toEqual(['ffff', 'team/tool:latest', 'app:1,app:2']);
    expect(await shown({}, '&all=1')).toHaveLength(4);
  });
});

describe('an image', () => {
  beforeEach(() => put(app(), tool()));

  test('has a history with the size of each layer', async () => {
    const { body } = await api.call('GET', '/images/app:1/history');

    expect(body).toMatchObject([
      {
        Id: app().configDigest,
        CreatedBy: 'COPY app',
        Size: 30,
        Tags: ['app:1', 'app:2'],
        Comment: 'the app',
      },
      { Id: '<missing>', CreatedBy: 'ENV A=1', Size: 0, Tags: null },
      { Id: '<missing>', CreatedBy: 'ADD base', Size: 1_000, Tags: null },
    ]);
  });

  test('is shown with what each version of the API has', async () => {
    const [oldest, newest] = [
      (await api.call('GET', '/v1.41/images/team/tool/json')).body,
      (await api.call('GET', '/v1.50/images/team/tool/json?manifests=1')).body,
    ];

    expect(newest).toMatchObject({
      Id: tool().configDigest,
      Parent: app().configDigest,
      Comment: 'the app',
      Config: { Cmd: ['sh'], Labels: { day: '3' } },
      Descriptor: { digest: tool().id },
      Manifests: [{ ID: tool().id }],
      Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
    });
    expect(Object.keys(newest)).not.toContain('ContainerConfig');
    expect(oldest).toMatchObject({
      Config: { Hostname: '', Env: null, Cmd: ['sh'] },
      ContainerConfig: { Cmd: null },
      VirtualSize: 1_030,
      DockerVersion: '',
    });
    expect(Object.keys(oldest)).not.toContain('Descriptor');
  });

  test('is of one platform: of another there is none', async () => {
    const of = (architecture: string) => encodeURIComponent(JSON.stringify({ os: 'linux', architecture }));

    expect((await api.call('GET', `/images/app:1/json?platform=${of('amd64')}`)).status).toBe(200);
    for (const path of ['json', 'history']) {
      expect(await api.call('GET', `/images/app:1/${path}?platform=${of('arm64')}`)).toMatchObject({
        status: 404,
        body: {
          message:
            'image with reference app:1 was found but does not provide the specified platform (linux/arm64)',
        },
      });
    }
    expect((await api.call('GET', '/images/app:1/json?platform=arm')).status).toBe(400);
    expect(await api.call('GET', `/images/app:1/json?manifests=1&platform=${of('amd64')}`)).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('conflicting options') },
    });
  });

  test('is counted once in what images take, as are the layers it shares', async () => {
    const { body } = await api.call('GET', '/system/df?type=image');

    expect(body.LayersSize).toBe(1_060);
    expect(body.Images).toMatchObject([{ SharedSize: 1_000 }, { SharedSize: 1_000 }]);
  });

  test('that is searched for on Docker Hub is looked for there', async () => {
    expect((await api.call('GET', '/images/search?term=busybox')).status).toBe(501);
  });
});

describe('removing', () => {
  beforeEach(() => put(app(), { ...tool(), parentId: '' }));
  const remove = (reference: string, query = '') => api.call('DELETE', `/images/${reference}${query}`);
  const [running, stopped] = ['5'.repeat(64), '6'.repeat(64)];

  test('an image without a name goes by its id', async () => {
    await put({ ...app(), names: [], repoDigests: [] });

    expect((await remove('d'.repeat(12))).body).toContainEqual({ Deleted: app().configDigest });
  });

  test('an image by its id goes only by force while it has several names', async () => {
    const id = 'd'.repeat(12);

    expect((await remove(id)).body.message).toBe(
      `conflict: unable to delete ${id} (must be forced) - image is referenced in multiple repositories`,
    );
    expect((await remove(id, '?force=1')).body).toEqual([
      { Untagged: 'app:1' },
      { Untagged: 'app:2' },
      { Deleted: app().configDigest },
      // The base is another's as well.
      { Deleted: expect.stringMatching(/^sha256:/) },
    ]);
  });

  test('the last name stays while a container uses the image', async () => {
    await container(stopped, tool().id, 'exited');

    const answer = await remove('team/tool');

    expect(answer).toMatchObject({
      status: 409,
      body: {
        message: `conflict: unable to remove repository reference "team/tool" (must force) - container ${stopped.slice(0, 12)} is using its referenced image eeeeeeeeeeee`,
      },
    });
    expect((await remove('eeee')).body.message).toContain(
      `(must be forced) - image is being used by stopped container ${stopped.slice(0, 12)}`,
    );
    expect((await remove('team/tool', '?force=1')).body).toHaveLength(3);
  });

  test('by force, an image that runs loses its name and stays', async () => {
    await container(running, tool().id, 'running');

    const byId = await remove('eeee', '?force=1');
    const byName = await remove('team/tool', '?force=1');

    expect(byId.body.message).toBe(
      `conflict: unable to delete eeeeeeeeeeee (cannot be forced) - image is being used by running container ${running.slice(0, 12)}`,
    );
    expect(byName.body).toEqual([{ Untagged: 'team/tool:latest' }]);
    expect(api.store.view().images.get(tool().id)?.names).toEqual([]);
  });

  test('a digest takes that name away alone', async () => {
    const own = 'docker.io/team/tool';
    await put({
      ...tool(),
      parentId: '',
      repoDigests: [`${own}@${digest('2')}`, `host:1/tool@${digest('2')}`],
    });

    const first = await remove(`team/tool@${digest('2')}`);

    expect(first.body).toEqual([{ Untagged: `team/tool@${digest('2')}` }]);
    expect(api.store.view().images.get(tool().id)?.repoDigests).toEqual([`host:1/tool@${digest('2')}`]);
  });

  test('what an image was committed from stays while it is there, and goes with it unless that is refused', async () => {
    await put({ ...app(), names: [] }, tool());

    expect((await remove('dddd', '?force=1')).body.message).toBe(
      'conflict: unable to delete dddddddddddd (cannot be forced) - image has dependent child images',
    );
    expect((await remove('team/tool', '?noprune=1')).body).not.toContainEqual({
      Deleted: app().configDigest,
    });
    await put(tool());
    expect((await remove('team/tool')).body).toContainEqual({ Deleted: app().configDigest });
    expect(api.store.view().images.size).toBe(0);
  });
});

describe('a prune', () => {
  beforeEach(() => put(app(), { ...tool(), parentId: '' }, nameless()));
  const prune = async (filters: object) =>
    (await api.call('POST', `/images/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body;

  test('takes what has no name, and says what that frees', async () => {
    const body = await prune({});

    expect(body).toMatchObject({
      ImagesDeleted: [{ Deleted: nameless().configDigest }, {}],
      SpaceReclaimed: 30,
    });
    expect(await prune({})).toEqual({ ImagesDeleted: null, SpaceReclaimed: 0 });
  });

  test('of all takes what nothing uses', async () => {
    await container('5'.repeat(64), app().id, 'exited');

    await prune({ dangling: ['false'] });

    expect([...api.store.view().images.all()].map(({ id }) => id)).toEqual([app().id]);
  });

  test.each([
    [{ dangling: ['false'], until: ['2026-01-02T12:00:00Z'] }, [app().id]],
    [{ dangling: ['false'], label: ['day=3'] }, [tool().id]],
    [{ dangling: ['false'], 'label!': ['day=3'] }, [app().id, nameless().id]],
  ])('filtered by %j takes only those', async (filters, gone) => {
    await prune(filters);

    const left = [...api.store.view().images.all()].map(({ id }) => id);
    expect([app().id, tool().id, nameless().id].filter((id) => !left.includes(id))).toEqual(gone);
  });
});

test.each([
  ['busy*', 'busybox', true],
  ['*', 'team/tool', false],
  ['*/*', 'team/tool', true],
  ['b?x', 'box', true],
  ['b[a-o]x', 'box', true],
  ['b[^o]x', 'box', false],
  ['a.b', 'axb', false],
  ['a\\*', 'a*', true],
])('the pattern %s and %s: %s', (pattern, path, fits) => {
  expect(matchesPath(pattern, path)).toBe(fits);
});

test('no pattern takes longer than its length says', () => {
  // A thousand years in an engine that goes back and tries again.
  expect(matchesPath(`${'*a'.repeat(40)}b`, 'a'.repeat(255))).toBe(false);
});
