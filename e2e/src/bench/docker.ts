// npm run bench -- docker [--rounds 30] [--json]
import { parseArgs } from 'node:util';
import { type Metric, median, printReport, quantile } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { apiRequest } from '../lab/api.js';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { makeLabImage } from '../lab/images.js';
import { Lab } from '../lab/lab.js';
import { startDockerHost } from './docker-host.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '30' }, json: { type: 'boolean', default: false } },
});
const ROUNDS = Number(values.rounds);

async function timeMs(argv: readonly string[]): Promise<number> {
  const beganMs = systemClock.monotonic();
  await must(argv);
  return systemClock.monotonic() - beganMs;
}

/** Containers created and started through the API, 8 at a time, a second. They are removed outside of the time. */
async function startedPerSecond(socket: string, count: number): Promise<number> {
  const ids: string[] = [];
  let left = count;
  const post = async (path: string, body?: object) => {
    const { status, body: answer } = await apiRequest(socket, 'POST', path, body);
    if (status >= 300) throw new Error(`${path}: ${status}: ${answer.toString()}`);
    return answer.toString();
  };
  const lane = async () => {
    while (left-- > 0) {
      const created = await post('/v1.41/containers/create', { Image: 'busybox', Cmd: ['sleep', '36000'] });
      const { Id } = JSON.parse(created) as { Id: string };
      ids.push(Id);
      await post(`/v1.41/containers/${Id}/start`);
    }
  };
  const beganMs = systemClock.monotonic();
  await Promise.all(Array.from({ length: 8 }, lane));
  const tookMs = systemClock.monotonic() - beganMs;
  for (const id of ids) await apiRequest(socket, 'DELETE', `/v1.41/containers/${id}?force=true`);
  return (count / tookMs) * 1000;
}

// A cluster of one host beside dockerd on another of the same kind.
const lab = await Lab.up({
  name: `docker${process.pid}`,
  hosts: 1,
  capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 },
});
let peer: Awaited<ReturnType<typeof startDockerHost>>;
const metrics: Metric[] = [];
try {
  const cluster = await LabCluster.form(lab);
  peer = await startDockerHost(lab);
  if (peer) {
    const archive = await makeLabImage(`${lab.dir}/peer-busybox.tar`);
    await must(['docker', '-H', `unix://${peer.socket}`, 'load', '-q', '-i', archive]);
  }
  const sockets = [cluster.manager.socket, ...(peer ? [peer.socket] : [])];
  const docker = (socket: string, ...words: string[]) => ['docker', '-H', `unix://${socket}`, ...words];
  for (const socket of sockets)
    await must(docker(socket, 'run', '-d', '--name', 'up', 'busybox', 'sleep', '36000'));

  const commands: Readonly<Record<string, readonly string[]>> = {
    'run --rm busybox true': ['run', '--rm', 'busybox', 'true'],
    'exec up true': ['exec', 'up', 'true'],
    ps: ['ps'],
  };
  const cliMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) cliMs.push(await timeMs(['docker', '--version']));
  const floor = median(cliMs);
  for (const [name, words] of Object.entries(commands)) {
    const samples = sockets.map((): number[] => []);
    // In turn, so that a noisy machine is as noisy for both.
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, socket] of sockets.entries()) samples[i]!.push(await timeMs(docker(socket, ...words)));
    for (const [what, of] of [
      ['p50', 0.5],
      ['p95', 0.95],
    ] as const) {
      metrics.push({
        name: `${name}, ${what}`,
        unit: 'ms',
        ours: quantile(samples[0]!, of),
        peer: samples[1] && quantile(samples[1], of),
        peerName: peer && 'dockerd',
        floor,
      });
    }
    metrics.push({
      name: `${name}, less the CLI's own`,
      unit: 'ms',
      ours: median(samples[0]!) - floor,
      peer: samples[1] && median(samples[1]) - floor,
      peerName: peer && 'dockerd',
    });
  }
  const [ours, theirs] = [
    await startedPerSecond(sockets[0]!, 40),
    peer && (await startedPerSecond(peer.socket, 40)),
  ];
  metrics.push({
    name: 'create and start, 8 at once',
    unit: '1/s',
    ours,
    peer: theirs,
    peerName: peer && 'dockerd',
  });
} finally {
  await peer?.down();
  await lab.down();
}
printReport('docker', metrics, {
  json: values.json,
  notes: [
    'floor: the docker command by itself (`docker --version`).',
    ...(peer ? [] : ['dockerd was not measured: install docker.io (deploy/install/setup.sh --bench)']),
  ],
});
