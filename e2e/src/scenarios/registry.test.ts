import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import {
  busyboxImage,
  compress,
  makeArchive,
  makeBusyboxArchive,
  makeLayer,
} from '@tessera/agent/image/testing';
import { hostPlatform } from '@tessera/shared/platform';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { must, run } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { INSECURE_REGISTRY_ARGS, LabRegistry } from '../lab/registry.js';
import { waitFor } from '../lab/wait.js';

// The unchanged docker CLI against a cluster, and both against Debian's registry.

let lab: Lab;
let cluster: LabCluster;
let open: LabRegistry;
let guarded: LabRegistry;

beforeAll(async () => {
  lab = await Lab.up({ name: `rg${process.pid}`, agentArgs: INSECURE_REGISTRY_ARGS });
  cluster = await LabCluster.form(lab);
  open = await LabRegistry.start(lab.hosts[2]!);
  guarded = await LabRegistry.start(lab.hosts[2]!, { isGuarded: true, port: 5001 });
  const archive = `${lab.dir}/layers.tar`;
  await makeBusyboxArchive(archive, { names: ['layers:1'], layers: 4 });
  await cluster.load(archive);
});
afterAll(() => lab?.down());

const environment = () => ({ ...process.env, DOCKER_CONFIG: `${lab.dir}/docker` });
const command = (words: readonly string[]) => ['docker', '-H', `unix://${cluster.manager.socket}`, ...words];
const docker = async (...words: string[]) =>
  (await must(command(words), { env: environment(), timeoutMs: 60_000 })).trimEnd();
const dockerFails = async (...words: string[]) => {
  const { code, stderr } = await run(command(words), { env: environment(), timeoutMs: 60_000 });
  return { code, stderr: stderr.trim() };
};

test('docker tag, push, rmi, pull, history and save do as with dockerd', async () => {
  const name = `${open.host}/team/layers:1`;
  await docker('tag', 'layers:1', name);

  const pushed = await docker('push', name);
  expect(pushed).toContain(`The push refers to repository [${open.host}/team/layers]`);
  expect(pushed.match(/: Pushed$/gm)).toHaveLength(4);
  const digest = /^1: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed)?.[1];
  expect(digest).toBeDefined();
  expect((await docker('push', name)).match(/: Layer already exists$/gm)).toHaveLength(4);

  await docker('rmi', name, 'layers:1');
  expect(await docker('images', '--format', '{{.Repository}}')).toBe('busybox');
  const pulled = await docker('pull', name);
  expect(pulled.split('\n')[0]).toBe('1: Pulling from team/layers');
  // Busybox alone is here already.
  expect(pulled.match(/: Pull complete$/gm)!.length).toBeGreaterThanOrEqual(3);
  expect(pulled.split('\n').slice(-3)).toEqual([
    `Digest: ${digest}`,
    `Status: Downloaded newer image for ${name}`,
    name,
  ]);
  expect(await docker('pull', '-q', name)).toBe(name);
  expect(await docker('pull', name)).toContain(`Status: Image is up to date for ${name}`);
  expect(
    await docker(
      'images',
      '--digests',
      '--format',
      '{{.Repository}} {{.Digest}}',
      `${open.host}/team/layers`,
    ),
  ).toBe(`${open.host}/team/layers ${digest}`);
  expect((await docker('history', '--format', '{{.CreatedBy}}', name)).split('\n')).toEqual([
    'layer 4',
    'layer 3',
    'layer 2',
    'layer 1',
  ]);

  const archive = `${lab.dir}/saved.tar`;
  await docker('save', '-o', archive, name);
  expect(await docker('load', '-i', archive)).toContain(`Loaded image: ${name}`);
  expect(await dockerFails('pull', `${open.host}/team/none:1`)).toEqual({
    code: 1,
    stderr: `Error response from daemon: manifest for ${open.host}/team/none:1 not found: manifest unknown: manifest unknown`,
  });
});

test('a private image is pulled by every node that needs it, with credentials nobody can read again', async () => {
  const name = `${guarded.host}/private:1`;
  await docker('tag', 'busybox', name);
  expect(await dockerFails('push', name)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no basic auth credentials'),
  });
  expect((await dockerFails('login', '-u', 'alice', '-p', 'guess', guarded.host)).stderr).toContain(
    '401 Unauthorized',
  );
  expect(await docker('login', '-u', 'alice', '-p', 'pass:word', guarded.host)).toContain('Login Succeeded');
  await docker('push', name);
  await docker('rmi', name, 'busybox:latest');
  const busybox = async () =>
    (await run(['sh', '-c', `grep -l private ${lab.dir}/host*/data/images/records/*`])).stdout;
  await waitFor('every node to have dropped it', async () => (await busybox()) === '');

  // Nobody holds it: the registry says which digest it has, and each node fetches it there, or from one that has.
  await docker(
    ...'service create -d --name private --with-registry-auth --replicas 3'.split(' '),
    name,
    'sleep',
    '100000',
  );
  const tasks = await cluster.waitRunning('private', 3);
  expect(new Set(tasks.map(({ NodeID }) => NodeID)).size).toBe(3);
  const inspected = await docker('service', 'inspect', 'private');
  expect(inspected).toMatch(new RegExp(`"Image": "${name}@sha256:[0-9a-f]{64}"`));
  expect(JSON.parse(inspected)[0].Spec.TaskTemplate.Placement.Platforms).toEqual([
    { Architecture: hostPlatform().architecture, OS: 'linux' },
  ]);
  expect(inspected).not.toContain('pass:word');

  // With the registry gone, nodes have it from each other.
  await guarded.stop();
  const victim = lab.hosts[1]!;
  await victim.kill();
  rmSync(`${victim.dataDir}/images`, { recursive: true });
  await victim.start();
  await cluster.waitNode(victim, 'ready');
  await docker('service', 'update', '-d', '--force', 'private');
  await waitFor('the image on the host that lost it', async () => {
    const { stdout } = await victim.exec(['sh', '-c', `ls ${victim.dataDir}/images/records 2>/dev/null`]);
    return stdout.trim() !== '';
  });
  await cluster.waitRunning('private', 3, 90_000);
  await docker('service', 'rm', 'private');
});

test('docker import makes an image that any host runs; history, ls, df, rmi and prune do as with dockerd', async () => {
  const files = `${lab.dir}/files.tar`;
  const { layers } = await busyboxImage();
  writeFileSync(files, compress(layers[0]!, 'gzip'));
  const changes = ['-c', 'ENV WHO=import', '-c', 'CMD ["sh","-c","echo hello from $WHO"]'];

  const id = await docker('import', ...changes, '-m', 'from files', files, 'own:1');

  expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(await docker('run', '--rm', '-e', `constraint:node==${lab.hosts[2]!.name}`, 'own:1')).toBe(
    'hello from import',
  );
  expect(await docker('history', '--format', '{{.Comment}} {{.Size}}', 'own:1')).toMatch(
    /^from files [1-9].*B$/,
  );
  await docker('tag', 'own:1', 'own:2');
  await docker('create', '--name', 'user', 'own:2');
  expect((await dockerFails('rmi', id)).stderr).toContain(
    '(must be forced) - image is being used by stopped',
  );
  expect(await docker('rmi', 'own:1')).toBe('Untagged: own:1');
  expect((await dockerFails('rmi', 'own:2')).stderr).toContain('is using its referenced image');
  await docker('rm', 'user');
  expect(await docker('images', '-q', '--no-trunc', '-f', 'reference=own*')).toBe(id);
  await docker('import', files);
  expect(await docker('image', 'prune', '-f')).toMatch(
    /^Deleted Images:\ndeleted: sha256:[\s\S]*Total reclaimed space: /,
  );
  expect(await docker('rmi', 'own:2')).toMatch(/^Untagged: own:2\nDeleted: sha256:/);
  expect(await docker('system', 'df', '--format', '{{.Type}} {{.TotalCount}}')).toContain('Images ');
});

test('an agent killed in the middle of a pull leaves nothing half done, and the next pull is whole', async () => {
  const name = `${open.host}/team/large:1`;
  const archive = `${lab.dir}/large.tar`;
  const layer = await makeLayer([{ name: 'large', content: randomBytes(64 * 2 ** 20) }]);
  writeFileSync(archive, await makeArchive([{ names: [name], layers: [layer] }]));
  await docker('load', '-i', archive);
  await docker('push', name);
  await docker('rmi', name);
  const host = cluster.manager;
  const unfinished = () => readdirSync(`${host.dataDir}/images/tmp`);
  const partial = () => readdirSync(`${host.dataDir}/images/partial`);

  let isOver = false;
  const pulling = dockerFails('pull', name).finally(() => {
    isOver = true;
  });
  await waitFor('a layer on its way', () => isOver || partial().length > 0, { intervalMs: 1 });
  await host.killAgent();
  const { code, stderr } = await pulling;
  await host.startAgent();
  await cluster.waitNode(host, 'ready');

  // Had it been quicker than we, there would be no error.
  if (code !== 0) expect(stderr).toMatch(/the node|the stream/);
  expect(await docker('pull', name)).toContain('Digest: sha256:');
  // Wherever it was pulled to: this host goes on with what it has of it.
  await docker('create', '--name', 'user-of-large', '-e', `constraint:node==${host.name}`, name, '/x');
  expect([...unfinished(), ...partial()]).toEqual([]);
  await docker('rm', 'user-of-large');
});
