import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { Lab } from '../lab/lab.js';
import { waitFor } from '../lab/wait.js';

const exec = promisify(execFile);
let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `dp${process.pid}` });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

test('three replicas run on three hosts, scale, and leave nothing behind', async () => {
  await cluster.createService({ name: 'web', replicas: 3 });

  const tasks = await cluster.waitRunning('web', 3);
  expect(new Set(tasks.map((task) => task.NodeID)).size).toBe(3);

  await cluster.scale('web', 7);
  expect(new Set((await cluster.waitRunning('web', 7)).map((task) => task.Slot)).size).toBe(7);

  await cluster.scale('web', 2);
  await cluster.waitRunning('web', 2);
  await cluster.removeService('web');
  await cluster.waitEmpty();
});

test('containers on different hosts reach a service by its name, and every replica answers', async () => {
  await cluster.createNetwork('shop');
  await cluster.createService({
    name: 'web',
    replicas: 3,
    networks: ['shop'],
    args: ['sh', '-c', 'hostname > /www/index.html; exec httpd -f -p 80 -h /www'],
  });
  await cluster.waitRunning('web', 3);

  for (const host of lab.hosts) {
    const name = `client-${host.name}`;
    await cluster.createService({
      name,
      networks: ['shop'],
      constraints: [`node.hostname==${host.name}`],
      restart: { Condition: 'none' },
      args: [
        'sh',
        '-c',
        'for i in $(seq 24); do wget -qO- http://web/ || echo failed; done; nslookup tasks.web',
      ],
    });
    const lines = await waitFor(`the answers to ${name}`, async () => {
      const [task] = await cluster.tasks(name);
      if (task?.Status.State !== 'complete' && task?.Status.State !== 'failed') return undefined;
      return (await lab.hosts[0]!.tsctl('service', 'logs', '--raw', name)).trim().split('\n');
    });
    const answers = lines.slice(0, 24);
    expect(answers).not.toContain('failed');
    expect(new Set(answers).size, answers.join()).toBe(3);
    expect(lines.filter((line) => /^Address.*10\.0\./.test(line)).length).toBeGreaterThanOrEqual(3);
    await cluster.removeService(name);
  }
  await cluster.removeService('web');
  await cluster.waitEmpty();
  await lab.hosts[0]!.tsctl('network', 'rm', 'shop');
});

test('an unchanged docker client drives the cluster', async () => {
  const docker = async (...args: string[]) =>
    (await exec('docker', ['-H', `unix://${lab.hosts[0]!.socket}`, ...args], { timeout: 60_000 })).stdout;

  await docker('network', 'create', '-d', 'overlay', 'back');
  await docker(
    'service',
    'create',
    '--name',
    'web',
    '--replicas',
    '3',
    '--network',
    'back',
    '--limit-memory',
    '64M',
    'busybox',
    'sh',
    '-c',
    'echo ready; exec sleep 100000',
  );
  expect(await docker('service', 'ls')).toMatch(/web\s+replicated\s+3\/3/);
  expect(await docker('service', 'ps', 'web', '--format', '{{.Node}}')).toMatch(/host1|host2|host3/);
  expect(await docker('service', 'scale', 'web=5')).toContain('converged');
  expect((await docker('service', 'logs', 'web')).match(/ready/g)).toHaveLength(5);
  expect(await docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}}')).toContain('host2 Ready');
  expect(await docker('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}')).toContain('busybox:latest');
  expect(await docker('network', 'ls', '--format', '{{.Name}} {{.Driver}}')).toContain('back overlay');
  expect(await docker('service', 'inspect', 'web', '--format', '{{.Spec.Mode.Replicated.Replicas}}')).toBe(
    '5\n',
  );
  expect(await docker('info', '--format', '{{.Swarm.Nodes}}')).toBe('3\n');
  await docker('service', 'rm', 'web');
  await cluster.waitEmpty();
  await docker('network', 'rm', 'back');
});

test('an update replaces the tasks one at a time, with the new image, environment and limits', async () => {
  await cluster.createService({ name: 'web', replicas: 3 });
  const before = await cluster.waitRunning('web', 3);

  await lab.hosts[0]!.tsctl('service', 'update', '--env-add', 'COLOR=blue', '--limit-memory', '32M', 'web');

  const after = await cluster.waitRunning('web', 3);
  const ids = new Set(before.map((task) => task.ID));
  expect(after.filter((task) => ids.has(task.ID))).toEqual([]);
  expect(new Set(after.map((task) => task.Slot))).toEqual(new Set([1, 2, 3]));
  await cluster.removeService('web');
  await cluster.waitEmpty();
});
