import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeApi } from '../../testing/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const stream = (...messages: object[]) =>
  messages.map((message) => `${JSON.stringify(message)}\r\n`).join('');
const logIn = (host: string) =>
  writeFileSync(
    join(api.directory, 'config.json'),
    JSON.stringify({ auths: { [host]: { auth: Buffer.from('alice:pass:word').toString('base64') } } }),
  );
const authOf = (header: unknown) =>
  JSON.parse(Buffer.from(String(header), 'base64url').toString('utf8')) as object;

test('pull says each step once where nobody watches, and takes the login docker has kept', async () => {
  logIn('registry.test:5000');
  api.on('POST /images/create', (_, response) => {
    response.end(
      stream(
        { status: 'Pulling from app', id: '1' },
        { status: 'Downloading', id: 'aaaa', progress: '[=>  ]', progressDetail: { current: 1, total: 9 } },
        { status: 'Pull complete', id: 'aaaa', progressDetail: {} },
        { status: 'Status: Downloaded newer image for registry.test:5000/app:1' },
      ),
    );
  });

  const { stdout, code } = await api.tsctl('image', 'pull', 'registry.test:5000/app:1');
  await api.tsctl('image', 'pull', '-q', 'busybox');

  expect({ stdout, code }).toEqual({
    code: 0,
    stdout:
      '1: Pulling from app\naaaa: Pull complete\nStatus: Downloaded newer image for registry.test:5000/app:1\n',
  });
  const [first, second] = api.calls;
  expect(first!.query.get('fromImage')).toBe('registry.test:5000/app:1');
  expect(first!.query.get('tag')).toBeNull();
  expect(authOf(first!.headers['x-registry-auth'])).toMatchObject({
    username: 'alice',
    password: 'pass:word',
  });
  expect(second!.query.get('tag')).toBe('latest');
  expect(second!.headers['x-registry-auth']).toBeUndefined();
});

test('push fails with what the stream ends with', async () => {
  api.on('POST /images/registry.test:5000/app/push', (_, response) => {
    response.end(stream({ status: 'Preparing', id: 'aaaa' }, { error: 'denied: no' }));
  });

  expect(await api.tsctl('image', 'push', 'registry.test:5000/app')).toEqual({
    code: 1,
    stdout: 'aaaa: Preparing\n',
    stderr: 'denied: no\n',
  });
  expect(api.calls[0]!.query.get('tag')).toBe('latest');
});

test('save writes a whole archive or none', async () => {
  const path = join(api.directory, 'app.tar');
  api.on('GET /images/get', (_, response) => response.end('archive'));
  expect(await api.tsctl('image', 'save', '-o', path, 'app:1', 'app:2')).toMatchObject({ code: 0 });
  expect(readFileSync(path, 'utf8')).toBe('archive');
  expect(api.calls[0]!.query.getAll('names')).toEqual(['app:1', 'app:2']);

  api.on('GET /images/get', (_, response) => {
    response.writeHead(200, { 'Content-Length': 8 });
    response.end('half');
    response.destroy();
  });
  expect(await api.tsctl('image', 'save', '-o', path, 'app:1')).toMatchObject({ code: 1 });
  expect(readFileSync(path, 'utf8')).toBe('archive');
});

test('history shows the newest step first, shortened', async () => {
  api.on('GET /images/app/history', [
    {
      Id: `sha256:${'c'.repeat(64)}`,
      Created: 1_795_262_000,
      CreatedBy: `RUN ${'x'.repeat(80)}`,
      Comment: '',
      Tags: null,
      Size: 0,
    },
    { Id: '<missing>', Created: 0, CreatedBy: 'ADD file', Comment: 'base', Tags: null, Size: 0 },
  ]);

  const { stdout } = await api.tsctl('image', 'history', 'app');

  expect(stdout).toMatch(/^IMAGE +CREATED +CREATED BY +SIZE +COMMENT\n/);
  expect(stdout).toMatch(/cccccccccccc +6 minutes ago +RUN x{40}…/);
  expect(stdout).toMatch(/<missing> +N\/A +ADD file +0B +base\n/);
});

test('a service is created with the digest and the platforms its image has now, and credentials only when asked', async () => {
  logIn('registry.test');
  const digest = `sha256:${'d'.repeat(64)}`;
  api.on('GET /distribution/registry.test/app/json', {
    Descriptor: { digest },
    Platforms: [
      { architecture: 'amd64', os: 'linux' },
      { architecture: 'arm', os: 'linux', variant: 'v7' },
    ],
  });
  api.on('POST /services/create', { ID: 'service-1' });

  await api.tsctl('service', 'create', '-d', '--with-registry-auth', 'registry.test/app');
  await api.tsctl('service', 'create', '-d', '--no-resolve-image', 'registry.test/app');

  const [asked, pinned, plain] = api.calls;
  expect(authOf(asked!.headers['x-registry-auth'])).toMatchObject({ username: 'alice' });
  expect(pinned!.body.TaskTemplate.ContainerSpec.Image).toBe(`registry.test/app:latest@${digest}`);
  expect(pinned!.body.TaskTemplate.Placement.Platforms).toEqual([
    { Architecture: 'amd64', OS: 'linux' },
    { OS: 'linux' },
  ]);
  expect(authOf(pinned!.headers['x-registry-auth'])).toMatchObject({ username: 'alice' });
  expect(plain!.body.TaskTemplate.ContainerSpec.Image).toBe('registry.test/app');
  expect(plain!.body.TaskTemplate.Placement).toBeUndefined();
  expect(plain!.headers['x-registry-auth']).toBeUndefined();
});

test('import sends the files, with what is to be changed, and prints the id of what they became', async () => {
  const file = join(api.directory, 'files.tar');
  writeFileSync(file, 'the files');
  let sent = '';
  api.on('POST /images/create', (call, response) => {
    sent = String(call.body);
    response.end(stream({ status: 'sha256:abc' }));
  });

  const { stdout, code } = await api.tsctl(
    ...['image', 'import', '-c', 'CMD ["sh"]', '-c', 'USER app', '-m', 'mine', file, 'own:1'],
  );

  expect({ stdout, code }).toEqual({ stdout: 'sha256:abc\n', code: 0 });
  const { query } = api.calls[0]!;
  expect(query.getAll('changes')).toEqual(['CMD ["sh"]', 'USER app']);
  expect(Object.fromEntries(query)).toMatchObject({ fromSrc: '-', repo: 'own:1', message: 'mine' });
  expect(sent).toContain('the files');
});

test('prune says what went and what that freed, once it was meant', async () => {
  api.on('POST /images/prune', (_, response) => {
    response.end(
      JSON.stringify({
        ImagesDeleted: [{ Untagged: 'a:1' }, { Deleted: 'sha256:b' }],
        SpaceReclaimed: 2_000,
      }),
    );
  });

  expect((await api.tsctl('image', 'prune')).code).not.toBe(0);
  const { stdout } = await api.tsctl('image', 'prune', '-a', '-f', '--filter', 'label=x');

  expect(stdout).toBe('Untagged: a:1\nDeleted: sha256:b\nTotal reclaimed space: 2kB\n');
  expect(JSON.parse(api.calls.at(-1)!.query.get('filters')!)).toEqual({ dangling: ['false'], label: ['x'] });
});
