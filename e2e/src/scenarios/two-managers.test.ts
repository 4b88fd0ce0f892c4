import { afterAll, beforeAll, expect, test } from 'vitest';
import { startClient } from '../lab/client.js';
import type { LabCluster } from '../lab/cluster.js';
import { type CommandOptions, must, run } from '../lab/command.js';
import { upWithTwoManagers } from '../lab/external-etcd.js';
import type { LabHost } from '../lab/host.js';
import type { Lab } from '../lab/lab.js';
import { pidsOf, signalAll } from '../lab/processes.js';
import { waitFor } from '../lab/wait.js';

// Two managers on one etcd that is none of theirs, and containers that outlive the host they were placed on.

let lab: Lab;
let cluster: LabCluster;
let first: LabHost;
let second: LabHost;
let worker: LabHost;

beforeAll(async () => {
  cluster = await upWithTwoManagers(`tm${process.pid}`);
  lab = cluster.lab;
  [first, second, worker] = lab.hosts as [LabHost, LabHost, LabHost];
});
afterAll(() => lab?.down());

const command = (via: LabHost, words: readonly string[]) => [
  'docker',
  '-H',
  `unix://${via.socket}`,
  ...words,
];
const tryDocker = (via: LabHost, words: readonly string[], options: CommandOptions = {}) =>
  run(command(via, words), { timeoutMs: 60_000, ...options });
const docker = async (via: LabHost, ...words: string[]) =>
  (await must(command(via, words), { timeoutMs: 60_000 })).trimEnd();

const client = (via: LabHost, ...words: string[]) => startClient(command(via, words));

test('what one manager makes the other shows, and a name is given once whichever is asked', async () => {
  const id = await docker(first, 'create', '--name', 'made', 'busybox', 'true');

  expect(await docker(second, 'ps', '-aq', '--no-trunc')).toBe(id);
  expect(await docker(second, 'inspect', '-f', '{{.Name}}', id)).toBe('/made');
  expect((await tryDocker(second, ['create', '--name', 'made', 'busybox'])).stderr).toContain(
    `The container name "/made" is already in use by container "${id}"`,
  );
  const results = await Promise.all(
    [first, second, first, second].map((via) => tryDocker(via, ['create', '--name', 'race', 'busybox'])),
  );
  expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
  expect(await docker(second, 'rm', 'made', 'race')).toBe('made\nrace');
  expect(await docker(first, 'ps', '-aq')).toBe('');
});

test('clients of a manager that is killed end with an error, and the same through the other one works', async () => {
  const script = 'echo up; while read line; do echo got $line; done';
  await docker(
    first,
    'run',
    '-di',
    '--name',
    'far',
    '-e',
    'constraint:node==host3',
    'busybox',
    'sh',
    '-c',
    script,
  );
  const logs = client(second, 'logs', '-f', 'far');
  await logs.saw('up');
  const attached = client(second, 'attach', '--no-stdin', 'far');
  const exec = client(second, 'exec', 'far', 'sh', '-c', 'echo in; sleep 1000');
  await exec.saw('in');
  const events = client(second, 'events');
  const waiting = client(second, 'wait', 'far');
  // Attached and waiting, as far as another client can tell: both have their answer's head by then.
  await docker(second, 'exec', 'far', 'true');

  expect(await signalAll(second, 'manager', 'KILL')).toBe(1);

  const codes = await Promise.all([logs, attached, exec, events, waiting].map(({ ended }) => ended));
  expect(codes.map((code) => code !== 0)).toEqual([true, true, true, true, true]);
  const through = client(first, 'logs', '-f', 'far');
  await through.saw('up');
  expect(await docker(first, 'exec', 'far', 'echo', 'still here')).toBe('still here');
  expect(await docker(first, 'inspect', '-f', '{{.State.Running}}', 'far')).toBe('true');
  expect((await tryDocker(first, ['rm', '-f', 'far'])).code).toBe(0);
  await through.ended;
  await waitFor('the second manager to be back, and to agree', async () => {
    const { code, stdout } = await tryDocker(second, ['ps', '-aq']);
    return code === 0 && stdout === '';
  });
});

test('a host is lost: what may move does, and runs, and the host that returns removes its copy first', async () => {
  const start = ['run', '-d', '-e', 'constraint:node==~host3'];
  const loop = ['busybox', 'sh', '-c', 'trap exit TERM; while :; do sleep 0.1; done'];
  const moving = ['-e', 'reschedule:on-node-failure', '--restart', 'always'];
  await docker(first, ...start, ...moving, '--name', 'moves', '-p', '8080:80', '-e', 'A=b', ...loop);
  await docker(first, ...start, '--restart', 'always', '--name', 'stays', ...loop);
  await docker(first, 'create', '-e', 'constraint:node==~host3', ...moving, '--name', 'idle', ...loop);
  const facts = (name: string) =>
    docker(
      second,
      'inspect',
      '-f',
      '{{.Node.Name}} {{.State.Status}} {{.Id}} {{.HostConfig.PortBindings}}',
      name,
    );
  const [moves, idle] = [await facts('moves'), await facts('idle')];
  expect(moves).toMatch(/^host3 running [0-9a-f]{64} map\[80\/tcp:/);

  await worker.kill();
  await waitFor('the container on another host', async () => !(await facts('moves')).startsWith('host3'));

  await waitFor('it to run', async () => (await facts('moves')).includes(' running '));
  await waitFor('the other to be there', async () => !(await facts('idle')).startsWith('host3'));
  expect((await facts('moves')).split(' ').slice(1)).toEqual(moves.split(' ').slice(1));
  expect((await facts('idle')).split(' ').slice(1)).toEqual(idle.split(' ').slice(1));
  expect(await docker(second, 'exec', 'moves', 'sh', '-c', 'echo $A')).toBe('b');
  expect(await facts('stays')).toMatch(/^host3 /);

  await worker.start();
  await cluster.waitNode(worker, 'ready');

  await waitFor('what stayed to be started again', async () => (await pidsOf(worker, 'shim')).length === 1);
  await waitFor(
    'its old copies to be gone',
    async () =>
      (await worker.must(['ls', `${worker.dataDir}/containers`])).split('\n').filter(Boolean).length === 1,
  );
  expect(await facts('moves')).not.toMatch(/^host3 /);
  expect(await docker(first, 'rm', '-f', 'moves', 'stays', 'idle')).toBe('moves\nstays\nidle');
  await waitFor('nothing to be left', async () => (await docker(first, 'ps', '-aq')) === '');
});
