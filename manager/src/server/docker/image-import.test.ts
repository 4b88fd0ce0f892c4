import type { Frame } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiFixture, anImage } from '../testing/api-fixture.js';

const ID = `sha256:${'b'.repeat(64)}`;

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
});
afterEach(() => api[Symbol.asyncDispose]());

/** The agent takes the files, and answers an image that two nodes hold. */
function acceptImport() {
  const seen = { config: {} as Record<string, unknown>, names: [] as readonly string[], bytes: 0 };
  api.onStream = async function* (_, kind, received): AsyncGenerator<Frame> {
    if (kind.$case !== 'imageImport') return;
    seen.config = JSON.parse(Buffer.from(kind.value.config).toString('utf8'));
    seen.names = kind.value.names;
    for await (const { body } of received) if (body?.$case === 'data') seen.bytes += body.value.length;
    yield { body: { $case: 'imageLoaded', value: { image: anImage(ID, kind.value.names) } } };
    await api.store.update((tx) => {
      for (const nodeId of ['node-1', 'node-2'])
        tx.put('nodeStatuses', { ...tx.nodeStatuses.get(nodeId)!, imageDigests: [ID] });
    });
  };
  return seen;
}

const create = (query: Record<string, string | string[]>, content: Uint8Array = Buffer.alloc(10)) => {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query))
    for (const each of [value].flat()) parameters.append(key, each);
  return api.call('POST', `/images/create?${parameters}`, content);
};

test('files become an image with the name, the comment and the changes that were asked for', async () => {
  const seen = acceptImport();

  const answer = await create(
    {
      fromSrc: '-',
      repo: 'team/own',
      tag: '1',
      message: 'from scratch',
      changes: ['CMD ["sh"]', 'ENV A=1'],
      platform: 'linux/arm64',
    },
    Buffer.alloc(300_000),
  );

  const image = api.store.view().images.get(ID)!;
  expect(answer.text).toBe(`${JSON.stringify({ status: image.configDigest })}\r\n`);
  expect(seen).toMatchObject({ bytes: 300_000, names: ['docker.io/team/own:1'] });
  expect(seen.config).toEqual({
    created: expect.stringMatching(/^\d{4}-.*Z$/),
    architecture: 'arm64',
    os: 'linux',
    comment: 'from scratch',
    config: { Cmd: ['sh'], Env: ['A=1'] },
    history: [{ created: seen.config.created, comment: 'from scratch' }],
  });
  expect(image.names).toEqual(['docker.io/team/own:1']);
  expect((await api.call('GET', '/images/team/own:1/json')).body.Metadata.LastTagTime).not.toMatch(/^0001/);
});

test('without a name and a comment, it has none and says where it came from', async () => {
  const seen = acceptImport();

  await create({ fromSrc: '-' });

  expect(seen.names).toEqual([]);
  expect(seen.config.comment).toBe('Imported from -');
  expect(api.store.view().images.get(ID)?.names).toEqual([]);
});

test.each([
  [{ fromSrc: '-', changes: 'RUN make' }, 400, 'RUN is not a valid change command'],
  [{ fromSrc: '-', repo: 'UPPER' }, 400, 'invalid reference format'],
  [{ fromSrc: '-', platform: 'windows/amd64' }, 400, 'is not supported; the nodes are linux'],
  [{ fromSrc: 'https://example.com/x.tar' }, 501, 'curl -L URL | docker import -'],
  [{}, 400, 'fromImage: name the image to pull'],
])('%j is refused before a node is asked', async (query, status, message) => {
  let asked = false;
  // biome-ignore lint/correctness/useYield: it must not be asked at all.
  api.onStream = async function* () {
    asked = true;
  };

  const answer = await create(query);

  expect(answer).toMatchObject({ status, body: { message: expect.stringContaining(message) } });
  expect(asked).toBe(false);
});
