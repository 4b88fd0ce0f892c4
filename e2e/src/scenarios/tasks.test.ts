import { afterAll, beforeAll, expect, test } from 'vitest';
import { apiRequest } from '../lab/api.js';
import { LabCluster } from '../lab/cluster.js';
import { Lab } from '../lab/lab.js';
import { waitFor } from '../lab/wait.js';

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `tk${process.pid}`, hosts: 2 });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

/** The first task of a service that has ended, one way or the other. */
const firstEnded = (service: string) =>
  waitFor(`a task of ${service} to end`, async () =>
    (await cluster.tasks(service)).find((task) =>
      ['complete', 'failed', 'rejected'].includes(task.Status.State),
    ),
  );

test.each(
  [
    {
      name: 'missing',
      args: ['/no/such/command'],
      exitCode: 127,
      says: /no such file or directory|not found/,
    },
    {
      name: 'missing-in-path',
      args: ['nosuchcommand'],
      exitCode: 127,
      says: /executable file not found in \$PATH/,
    },
    { name: 'directory', args: ['/etc'], exitCode: 126, says: /permission denied|is a directory/ },
    { name: 'exits', args: ['sh', '-c', 'exit 42'], exitCode: 42, says: /non-zero exit \(42\)/ },
    { name: 'signalled', args: ['sh', '-c', 'kill -SEGV $$; sleep 1'], exitCode: 0, says: /./, skip: true },
  ].filter((row) => !('skip' in row)),
)('a command that is $name is reported with code $exitCode', async ({ name, args, exitCode, says }) => {
  await cluster.createService({ name, args, restart: { Condition: 'none' } });

  const task = await firstEnded(name);

  expect(task.Status.Err).toMatch(says);
  expect(task.Status.ContainerStatus?.ExitCode).toBe(exitCode);
  await cluster.removeService(name);
});

test('a container that uses more memory than its limit is killed, and the task says why', async () => {
  await cluster.createService({
    name: 'hungry',
    args: ['sh', '-c', 'x=x; while :; do x=$x$x; done'],
    limits: { MemoryBytes: 16 * 2 ** 20 },
    restart: { Condition: 'none' },
  });

  const task = await firstEnded('hungry');

  expect(task.Status.ContainerStatus?.ExitCode).toBe(137);
  expect(`${task.Status.Err} ${task.Status.Message}`).toMatch(/OOM|out of memory|memory limit/i);
  await cluster.removeService('hungry');
});

test('a crash loop is paced, its history bounded, and another service does not suffer', async () => {
  await cluster.createService({ name: 'crash', args: ['sh', '-c', 'exit 1'], restart: { Delay: 100e6 } });
  await waitFor('the history to fill', async () => (await cluster.tasks('crash')).length >= 5);

  await cluster.createService({ name: 'calm', replicas: 4 });
  await cluster.waitRunning('calm', 4);

  // One more than the bound may be under way: the newest is not history yet.
  expect((await cluster.tasks('crash')).length).toBeLessThanOrEqual(7);
  await cluster.removeService('crash');
  await cluster.removeService('calm');
  await cluster.waitEmpty();
});

test('a program that ignores its stop signal is killed after the grace time', async () => {
  await cluster.createService({
    name: 'stubborn',
    args: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
    stopGraceMs: 500,
  });
  await cluster.waitRunning('stubborn', 1);

  await cluster.removeService('stubborn');

  await cluster.waitEmpty();
});

test('more tasks than capacity wait, say why, and start when there is room', async () => {
  const cpus = 0.4e9;
  await cluster.createService({ name: 'big', replicas: 4, reservations: { NanoCPUs: cpus } });
  await cluster.createService({ name: 'late', replicas: 2, reservations: { NanoCPUs: cpus } });
  await cluster.waitRunning('big', 4);

  const pending = await waitFor('the reason', async () => {
    const tasks = await cluster.tasks('late');
    return tasks.length === 2 && tasks.every((task) => task.Status.Err) && tasks;
  });
  expect(pending[0]!.Status.State).toBe('pending');
  expect(pending[0]!.Status.Err).toContain('insufficient resources on 2 nodes');

  await cluster.removeService('big');
  await cluster.waitRunning('late', 2);
  await cluster.removeService('late');
  await cluster.waitEmpty();
});

test('a pending task starts when a label makes a node fit', async () => {
  await cluster.createService({ name: 'picky', constraints: ['node.labels.disk==ssd'] });
  await waitFor('the reason', async () =>
    (await cluster.tasks('picky')).some((task) =>
      task.Status.Err?.includes('scheduling constraints not satisfied on 2 nodes'),
    ),
  );

  await cluster.manager.tsctl('node', 'update', '--label-add', 'disk=ssd', 'host2');

  const [task] = await cluster.waitRunning('picky', 1);
  expect(task!.NodeID).toBe(await cluster.nodeId(lab.host('host2')));
  await cluster.removeService('picky');
  await cluster.waitEmpty();
});

test('a hostile archive is refused with a reason and leaves nothing', async () => {
  const garbage = Buffer.alloc(4096, 7);

  const reply = await apiRequest(cluster.manager.socket, 'POST', '/images/load', garbage);

  expect(reply.body.toString()).toMatch(/"(message|error|errorDetail)"/);
  const images = await cluster.get<{ RepoTags: string[] }[]>('/images/json');
  expect(images.flatMap((image) => image.RepoTags)).toEqual(['busybox:latest']);
});
