import { copyFileSync, mkdirSync, realpathSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { type CommandResult, must } from '../lab/command.js';
import type { LabHost } from '../lab/host.js';
import { Lab } from '../lab/lab.js';
import { ROOT } from '../lab/paths.js';
import { waitFor } from '../lab/wait.js';

// Programs and libraries that were written for dockerd, unchanged, on hosts of a lab. Each checks what it is answered.

const API = 'unix:///run/tessera/tessera.sock';

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `cl${process.pid}` });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

/** As a user of `host` would run it. */
const as = (
  host: LabHost,
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandResult> =>
  host.exec(['env', ...Object.entries({ DOCKER_HOST: API, ...env }).map((pair) => pair.join('=')), ...argv], {
    timeoutMs: 110_000,
  });
const program = (name: string) => [process.execPath, `${ROOT}e2e/dist/clients/${name}.js`];
const OK = { code: 0, stdout: 'ok\n', stderr: '' };

const REAPER = 'testcontainers/ryuk:lab';

/** An image of Node, what it is linked to, and the reaper. */
async function importReaper(): Promise<void> {
  const directory = `${lab.dir}/reaper`;
  mkdirSync(directory);
  copyFileSync(`${ROOT}e2e/dist/clients/reaper.js`, `${directory}/reaper.mjs`);
  const node = realpathSync(process.execPath);
  const libraries = (await must(['ldd', node])).match(/\/\S+(?= \()/g) ?? [];
  const archive = `${directory}/image.tar`;
  await must(['tar', '-chf', archive, ...libraries, node, '-C', directory, 'reaper.mjs']);
  const change = `ENTRYPOINT ["${node}", "/reaper.mjs"]`;
  await cluster.manager.must(['docker', '-H', API, 'import', '--change', change, archive, REAPER]);
}

/** No client leaves anything behind. */
const containers = () => cluster.get<unknown[]>('/containers/json?all=1');

test('python3-docker runs, follows, executes in, attaches to, waits for and watches containers, and moves images', async () => {
  // Debian's own Python: another one would not find Debian's packages.
  const argv = ['/usr/bin/python3', `${ROOT}e2e/clients/docker_py.py`];
  const steps = ['runs', 'life', 'attaches', 'attach_stream', 'events', 'images', 'archives'];

  expect(await as(cluster.manager, [...argv, ...steps])).toEqual(OK);
  expect(await containers()).toEqual([]);
});

test('dockerode does the same over the socket', async () => {
  expect(await as(cluster.manager, program('dockerode'))).toEqual(OK);
  expect(await containers()).toEqual([]);
});

test('and over TLS from another host, half-closed streams included', async () => {
  const directory = `${lab.dir}/certificate`;
  mkdirSync(directory, { mode: 0o700 });
  await cluster.manager.tsctl('cluster', 'certificate', 'dockerode', '-o', directory);
  const env = {
    DOCKER_HOST: `tcp://${cluster.manager.address}:2376`,
    DOCKER_TLS_VERIFY: '1',
    DOCKER_CERT_PATH: directory,
  };

  expect(await as(lab.hosts[2]!, program('dockerode'), env)).toEqual(OK);
  expect(await containers()).toEqual([]);
});

test('testcontainers waits for ports, logs and commands of containers, and its reaper removes what a killed test leaves', async () => {
  await importReaper();
  const env = {
    NODE_NAME: cluster.manager.name,
    TESTCONTAINERS_HOST_OVERRIDE: '127.0.0.1',
    RYUK_CONTAINER_IMAGE: REAPER,
    TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT: '1s',
  };

  expect(await as(cluster.manager, program('testcontainers'), env)).toEqual(OK);
  await waitFor('the reaper to be gone', async () => (await containers()).length === 0);

  const killed = await as(cluster.manager, [...program('testcontainers'), '--leave'], env);
  expect(killed.stdout).toMatch(/^[0-9a-f]{64}\n$/);
  await waitFor('what it left to be reaped', async () => (await containers()).length === 0);
});

test('docker-compose brings up, scales, shows and takes down a project without a network of its own', async () => {
  const compose = (...words: string[]) =>
    as(cluster.manager, [
      'docker-compose',
      '--project-name',
      'lab',
      '--project-directory',
      `${ROOT}e2e/clients/compose`,
      '--file',
      `${ROOT}e2e/clients/compose/docker-compose.yml`,
      ...words,
    ]);
  const done = async (...words: string[]) => {
    const result = await compose(...words);
    expect(result, words.join(' ')).toMatchObject({ code: 0 });
    return result.stdout;
  };

  // The second waits until the first is healthy.
  await done('up', '-d');
  expect(await done('ps')).toMatch(/lab_web_1 .*Up \(healthy\)[\s\S]*lab_worker_1 .*Up/);
  expect(await done('logs', '--no-color')).toMatch(/web_1 +\| serving hello/);
  expect(await compose('exec', '-T', 'web', 'sh', '-c', 'echo $GREETING; exit 3')).toMatchObject({
    code: 3,
    stdout: 'hello\n',
  });
  await done('up', '-d', '--scale', 'worker=3');
  expect((await done('ps', '-q')).trim().split('\n')).toHaveLength(4);
  await done('down');
  expect(await containers()).toEqual([]);
});

test('docker-compose in the foreground shows what services write, and ends as the chosen one does', async () => {
  const file = `${ROOT}e2e/clients/compose/job.yml`;
  const words = ['docker-compose', '--project-name', 'job', '--file', file];
  const { code, stdout } = await as(cluster.manager, [
    ...words,
    '--ansi',
    'never',
    'up',
    '--no-color',
    '--exit-code-from',
    'job',
  ]);

  expect(code).toBe(4);
  expect(stdout).toMatch(/side_1 +\| beside/);
  expect(stdout).toMatch(/job_1 +\| finished/);
  expect(await as(cluster.manager, [...words, 'down'])).toMatchObject({ code: 0 });
  expect(await containers()).toEqual([]);
});
