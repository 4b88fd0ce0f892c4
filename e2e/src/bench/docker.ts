// npm run bench -- docker [--rounds 30] [--containers 500] [--megabytes 500] [--json]
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
  options: {
    rounds: { type: 'string', default: '30' },
    containers: { type: 'string', default: '500' },
    megabytes: { type: 'string', default: '500' },
    json: { type: 'boolean', default: false },
  },
});
const ROUNDS = Number(values.rounds);
const CONTAINERS = Number(values.containers);
const MEGABYTES = Number(values.megabytes);
const LANES = 8;
const QUANTILES = [
  ['p50', 0.5],
  ['p95', 0.95],
] as const;
/** Of what takes seconds. */
const FEW_ROUNDS = 5;

async function timeMs(argv: readonly string[]): Promise<number> {
  const beganMs = systemClock.monotonic();
  await must(argv);
  return systemClock.monotonic() - beganMs;
}

async function post(socket: string, path: string, body?: object): Promise<string> {
  const { status, body: answer } = await apiRequest(socket, 'POST', `/v1.41${path}`, body);
  if (status >= 300) throw new Error(`${path}: ${status}: ${answer.toString()}`);
  return answer.toString();
}

/** Containers made through the API, and started if that is asked for, 8 at a time. @returns how many a second, and which */
async function make(
  socket: string,
  count: number,
  isStarted: boolean,
): Promise<{ readonly perSecond: number; readonly ids: readonly string[] }> {
  const ids: string[] = [];
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      const body = { Image: 'busybox', Cmd: ['sleep', '36000'] };
      const { Id } = JSON.parse(await post(socket, '/containers/create', body)) as { Id: string };
      ids.push(Id);
      if (isStarted) await post(socket, `/containers/${Id}/start`);
    }
  };
  const beganMs = systemClock.monotonic();
  await Promise.all(Array.from({ length: LANES }, lane));
  return { perSecond: (count / (systemClock.monotonic() - beganMs)) * 1_000, ids };
}

async function remove(socket: string, ids: readonly string[]): Promise<void> {
  const left = [...ids];
  const lane = async () => {
    for (let id = left.pop(); id; id = left.pop())
      await apiRequest(socket, 'DELETE', `/v1.41/containers/${id}?force=true`);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Megabytes a second that a client in the foreground reads of what its container writes, start and end included. */
async function attachedMegabytesPerSecond(docker: readonly string[]): Promise<number> {
  // Long lines of letters: zeros would be six times as long in dockerd's log.
  const write = `tr '\\0' x </dev/zero | head -c ${MEGABYTES * 2 ** 20}`;
  const beganMs = systemClock.monotonic();
  const counted = await must([
    'sh',
    '-c',
    '"$@" | wc -c',
    'sh',
    ...docker,
    'run',
    '--rm',
    'busybox',
    'sh',
    '-c',
    write,
  ]);
  const tookMs = systemClock.monotonic() - beganMs;
  if (Number(counted) !== MEGABYTES * 2 ** 20) throw new Error(`${counted.trim()} bytes came`);
  return (MEGABYTES / tookMs) * 1_000;
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
  const compared = (name: string, unit: string, [ours, theirs]: readonly number[]): Metric => ({
    name,
    unit,
    ours: ours!,
    peer: theirs,
    peerName: peer && 'dockerd',
  });
  const measure = async (name: string, words: readonly string[]) => {
    const samples = sockets.map((): number[] => []);
    const cliMs: number[] = [];
    // In turn, so that a noisy machine is as noisy for each.
    for (let round = 0; round < ROUNDS; round++) {
      cliMs.push(await timeMs(['docker', '--version']));
      for (const [i, socket] of sockets.entries()) samples[i]!.push(await timeMs(docker(socket, ...words)));
    }
    const floor = median(cliMs);
    for (const [what, of] of QUANTILES) {
      const values = samples.map((each) => quantile(each, of));
      metrics.push({ ...compared(`${name}, ${what}`, 'ms', values), floor });
    }
    const less = samples.map((each) => median(each) - floor);
    metrics.push(compared(`${name}, less the CLI's own`, 'ms', less));
  };
  for (const [name, words] of Object.entries(commands)) await measure(name, words);

  const rates = [];
  for (const socket of sockets) {
    const { perSecond, ids } = await make(socket, 40, true);
    rates.push(perSecond);
    await remove(socket, ids);
  }
  metrics.push(compared('create and start, 8 at once', '1/s', rates));

  const throughputs = sockets.map((): number[] => []);
  for (let round = 0; round < FEW_ROUNDS; round++)
    for (const [i, socket] of sockets.entries())
      throughputs[i]!.push(await attachedMegabytesPerSecond(docker(socket)));
  metrics.push(compared(`attached, ${MEGABYTES} MB`, 'MB/s', throughputs.map(median)));

  const created = [];
  for (const socket of sockets) created.push((await make(socket, CONTAINERS, false)).perSecond);
  metrics.push(compared('create alone, 8 at once', '1/s', created));
  await measure(`ps -a with ${CONTAINERS}`, ['ps', '-a']);
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
