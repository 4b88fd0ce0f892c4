// npm run bench -- docker [--rounds 30] [--before 100] [--containers 500] [--megabytes 500] [--json]
import { parseArgs } from 'node:util';
import { type Metric, median, printReport, quantile } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { apiRequest } from '../lab/api.js';
import { must } from '../lab/command.js';
import { besideDockerd, medians } from './beside-dockerd.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    before: { type: 'string', default: '100' },
    containers: { type: 'string', default: '500' },
    megabytes: { type: 'string', default: '500' },
    json: { type: 'boolean', default: false },
  },
});
const ROUNDS = Number(values.rounds);
/** Runs that an engine has served before it is measured, as one in use has. */
const BEFORE = Number(values.before);
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

/** `docker run --rm`, 4 at a time. */
async function runMany(socket: string, count: number): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left-- > 0) await must(docker(socket, 'run', '--rm', 'busybox', 'true'));
  };
  await Promise.all(Array.from({ length: 4 }, lane));
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

const docker = (socket: string, ...words: string[]) => ['docker', '-H', `unix://${socket}`, ...words];
const metrics: Metric[] = [];
const notes = await besideDockerd('docker', async ({ sockets, sample, compared }) => {
  for (const socket of sockets) {
    await must(docker(socket, 'run', '-d', '--name', 'up', 'busybox', 'sleep', '36000'));
    await runMany(socket, BEFORE);
  }

  const commands: Readonly<Record<string, readonly string[]>> = {
    'run --rm busybox true': ['run', '--rm', 'busybox', 'true'],
    'exec up true': ['exec', 'up', 'true'],
    ps: ['ps'],
  };
  const measure = async (name: string, words: readonly string[]) => {
    const cliMs: number[] = [];
    const samples = await sample(
      ROUNDS,
      (socket) => timeMs(docker(socket, ...words)),
      async () => void cliMs.push(await timeMs(['docker', '--version'])),
    );
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

  const throughputs = await sample(FEW_ROUNDS, (socket) => attachedMegabytesPerSecond(docker(socket)));
  metrics.push(compared(`attached, ${MEGABYTES} MB`, 'MB/s', medians(throughputs)));

  const created = [];
  for (const socket of sockets) created.push((await make(socket, CONTAINERS, false)).perSecond);
  metrics.push(compared('create alone, 8 at once', '1/s', created));
  await measure(`ps -a with ${CONTAINERS}`, ['ps', '-a']);
});
printReport('docker', metrics, {
  json: values.json,
  notes: [
    `each engine had served ${BEFORE} runs before; floor: the docker command by itself (\`docker --version\`).`,
    ...notes,
  ],
});
