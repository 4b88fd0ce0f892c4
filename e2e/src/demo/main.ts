// npm run demo: the main job, shown on a lab of three hosts. Ends by itself; --keep leaves the lab up.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { run } from '../lab/command.js';
import type { LabHost } from '../lab/host.js';
import { makeLabImage } from '../lab/images.js';
import { Lab } from '../lab/lab.js';
import { labCgroup, labDir } from '../lab/paths.js';
import { waitFor } from '../lab/wait.js';
import { Narrator, seconds } from './narrator.js';

const { values } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, name: { type: 'string', default: 'demo' } },
});
const narrator = new Narrator();

/** Tasks of a service that are observed running, with the node each runs on. */
async function runningTasks(
  host: LabHost,
  service: string,
): Promise<{ id: string; node: string; slot: number }[]> {
  const lines = await host.tsctl('service', 'ps', service, '--format', 'json', '--no-trunc');
  return lines
    .split('\n')
    .filter(Boolean)
    .map(
      (line) =>
        JSON.parse(line) as {
          ID: string;
          Node: string;
          Name: string;
          CurrentState: string;
          DesiredState: string;
        },
    )
    .filter(
      ({ CurrentState, DesiredState }) => CurrentState.startsWith('Running') && DesiredState === 'Running',
    )
    .map(({ ID, Node, Name }) => ({ id: ID, node: Node, slot: Number(Name.split('.')[1]) }));
}

async function main(lab: Lab): Promise<void> {
  const [host1, host2, host3] = lab.hosts as [LabHost, LabHost, LabHost];

  await narrator.step('Make a cluster: one host starts it, two join', async () => {
    await narrator.type(host1, 'tsctl', 'cluster', 'init', '--advertise-addr', host1.address);
    const token = (await host1.tsctl('cluster', 'token', 'worker', '-q')).trim();
    await narrator.type(host2, 'tsctl', 'cluster', 'join', '--token', token, `${host1.address}:2377`);
    await narrator.type(host3, 'tsctl', 'cluster', 'join', '--token', token, `${host1.address}:2377`);
    await narrator.type(host1, 'tsctl', 'node', 'ls');
  });

  await narrator.step('Load an image on one host; the cluster has it', async () => {
    const archive = `${host1.dataDir}/busybox.tar`;
    await makeLabImage(archive);
    await narrator.type(host1, 'tsctl', 'image', 'load', '-i', archive);
    await narrator.type(host1, 'tsctl', 'image', 'ls');
  });

  await narrator.step('Three replicas on an overlay network', async () => {
    await narrator.type(host1, 'tsctl', 'network', 'create', '-d', 'overlay', 'shop');
    await narrator.type(
      host1,
      'tsctl',
      'service',
      'create',
      '--name',
      'web',
      '--replicas',
      '3',
      '--network',
      'shop',
      '--limit-memory',
      '64M',
      '--reserve-cpu',
      '0.2',
      'busybox',
      'sh',
      '-c',
      'echo "hello from $(hostname)" > /www/index.html; exec httpd -f -v -p 80 -h /www',
    );
    await narrator.type(host1, 'tsctl', 'service', 'ps', 'web');
    const nodes = new Set((await runningTasks(host1, 'web')).map((task) => task.node));
    if (nodes.size !== 3) throw new Error(`the replicas run on ${[...nodes].join(', ')}, not on three hosts`);
  });

  await narrator.step('A client on another host finds them by name', async () => {
    await narrator.type(
      host1,
      'tsctl',
      'service',
      'create',
      '--name',
      'client',
      '--network',
      'shop',
      '--constraint',
      'node.hostname==host3',
      '--restart-condition',
      'none',
      '--detach',
      'busybox',
      'sh',
      '-c',
      'for i in 1 2 3 4 5 6 7 8; do wget -qO- http://web/; done',
    );
    const answers = await waitFor(
      'eight answers',
      async () => {
        const lines = (await host1.tsctl('service', 'logs', '--raw', 'client')).trim().split('\n');
        return lines.length >= 8 && lines;
      },
      { timeoutMs: 20_000 },
    );
    await narrator.type(host1, 'tsctl', 'service', 'logs', 'client');
    const replicas = new Set(answers.filter((line) => line.startsWith('hello from')));
    if (replicas.size < 2) throw new Error(`all answers came from ${[...replicas].join(', ')}`);
    narrator.say(`${replicas.size} different replicas answered`);
  });

  await narrator.step('Scale up, and read the logs of all', async () => {
    await narrator.type(host1, 'tsctl', 'service', 'scale', 'web=6');
    await narrator.type(host1, 'tsctl', 'service', 'logs', '--tail', '2', 'web');
  });

  await narrator.step('host3 loses its power; its tasks are replaced elsewhere', async () => {
    const lost = (await runningTasks(host1, 'web')).filter((task) => task.node === 'host3').length;
    narrator.say(`kill host3: agent, containers and link, with ${lost} tasks of web`);
    const beganMs = systemClock.monotonic();
    await host3.kill();
    await waitFor('six tasks on the two others', async () => {
      const tasks = await runningTasks(host1, 'web');
      return tasks.length === 6 && tasks.every((task) => task.node !== 'host3');
    });
    narrator.say(
      `six tasks run on host1 and host2 again ${seconds(systemClock.monotonic() - beganMs)} after the power went`,
    );
    await narrator.type(host1, 'tsctl', 'service', 'ps', 'web');
  });

  await narrator.step('host3 comes back, and nothing runs twice', async () => {
    await host3.start();
    await waitFor('host3 to be ready', async () => /host3\s+Ready/.test(await host1.tsctl('node', 'ls')));
    await narrator.type(host1, 'tsctl', 'node', 'ls');
    const tasks = await runningTasks(host1, 'web');
    const slots = new Set(tasks.map((task) => task.slot));
    if (tasks.length !== 6 || slots.size !== 6)
      throw new Error(`${tasks.length} tasks run in ${slots.size} slots`);
    narrator.say('six tasks in six slots');
  });

  await narrator.step('Remove the services; nothing is left over', async () => {
    await narrator.type(host1, 'tsctl', 'service', 'rm', 'web', 'client');
    await waitFor('the containers to be gone', async () =>
      (await Promise.all(lab.hosts.map(containersOf))).every((count) => count === 0),
    );
    await narrator.type(host1, 'tsctl', 'network', 'rm', 'shop');
    narrator.say('no container process, cgroup or directory is left on any host');
  });
}

/** Directories, cgroups and shims of containers that a host has. */
async function containersOf(host: LabHost): Promise<number> {
  const group = `/sys/fs/cgroup/*${host.cgroupParent}/containers/*/`;
  const { stdout } = await host.exec([
    'sh',
    '-c',
    `ls -d ${host.dataDir}/containers/*/ /run/tessera/containers/*/ ${group} 2>/dev/null | wc -l; pgrep -xc ts-shim || true`,
  ]);
  return stdout
    .trim()
    .split('\n')
    .reduce((sum, count) => sum + Number(count), 0);
}

console.log(
  'Tessera: many hosts, one engine. This starts three hosts on this machine, each with namespaces of its own.',
);
let lab: Lab | undefined;
let failed = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void (lab?.down() ?? Promise.resolve()).finally(() => process.exit(130)));
}
try {
  lab = await narrator.step('Three hosts on a switch', () => Lab.up({ name: values.name }));
  await main(lab);
} catch (error) {
  failed = true;
  console.error(`\ndemo: ${errorText(error)}`);
  if (lab)
    console.error(
      `The hosts' logs are in ${lab.dir}/host*/tsd.log${values.keep ? '' : ' (kept only with --keep)'}`,
    );
}
if (values.keep && lab) {
  const socket = lab.hosts[0]?.socket;
  console.log(
    `\nThe lab stays up until you press Ctrl-C. In another terminal:\n   docker -H unix://${socket} node ls`,
  );
  console.log(`   tsctl -H unix://${socket} service ls        (tsctl is in node_modules/.bin)`);
  await new Promise(() => {});
}
if (lab) {
  await lab.down();
  const left = [
    existsSync(labDir(values.name)),
    (await run(['sh', '-c', `ls -d /sys/fs/cgroup/*/${labCgroup(values.name)}`])).code === 0,
  ];
  if (left.some(Boolean)) {
    failed = true;
    console.error('demo: the lab left something behind');
  }
}
narrator.summary();
process.exit(failed ? 1 : 0);
