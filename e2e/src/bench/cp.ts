// npm run bench -- cp [--megabytes 200] [--rounds 3] [--json]
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Metric, median, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { makeLabImage } from '../lab/images.js';
import { Lab } from '../lab/lab.js';
import { startDockerHost } from './docker-host.js';

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const MEGABYTES = Number(values.megabytes);
const FILE_BYTES = 4_000_000;
const SMALL_COUNT = 5_000;
const SMALL_BYTES = 2_000;

/** One directory of large files, and one of many small ones. */
function makeFiles(dir: string): void {
  const content = randomBytes(FILE_BYTES);
  for (const kind of ['large', 'small']) mkdirSync(`${dir}/${kind}`, { recursive: true });
  const largeCount = Math.ceil((MEGABYTES * 1e6) / FILE_BYTES);
  for (let file = 0; file < largeCount; file++) writeFileSync(`${dir}/large/${file}`, content);
  for (let file = 0; file < SMALL_COUNT; file++)
    writeFileSync(`${dir}/small/${file}`, content.subarray(0, SMALL_BYTES));
}

// A cluster of one host beside dockerd on another of the same kind.
const lab = await Lab.up({
  name: `cp${process.pid}`,
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
  const source = `${lab.dir}/source`;
  makeFiles(source);

  const timeMs = async (socket: string, ...words: string[]): Promise<number> => {
    const beganMs = systemClock.monotonic();
    await must(['docker', '-H', `unix://${socket}`, ...words]);
    return systemClock.monotonic() - beganMs;
  };
  for (const socket of sockets) {
    await timeMs(socket, 'run', '-d', '--name', 'up', 'busybox', 'sleep', '36000');
    await timeMs(socket, 'create', '--name', 'down', 'busybox');
  }
  const target = `${lab.dir}/target`;
  for (const [what, container, kind] of [
    [`${MEGABYTES} MB`, 'up', 'large'],
    [`${MEGABYTES} MB, not running`, 'down', 'large'],
    [`${SMALL_COUNT} files`, 'up', 'small'],
  ] as const) {
    const directions = {
      in: (socket: string) => timeMs(socket, 'cp', `${source}/${kind}`, `${container}:/tmp/`),
      out: async (socket: string) => {
        const tookMs = await timeMs(socket, 'cp', `${container}:/tmp/${kind}`, target);
        rmSync(target, { recursive: true });
        return tookMs;
      },
    };
    for (const [direction, copy] of Object.entries(directions)) {
      const samples = sockets.map((): number[] => []);
      // In turn, so that a noisy machine is as noisy for both.
      for (let round = 0; round < Number(values.rounds); round++)
        for (const [i, socket] of sockets.entries()) samples[i]!.push(await copy(socket));
      const [ours, theirs] = samples.map(median);
      metrics.push({
        name: `${what}, ${direction}`,
        unit: 'ms',
        ours: ours!,
        peer: theirs,
        peerName: peer && 'dockerd',
      });
    }
  }
} finally {
  await peer?.down();
  await lab.down();
}
printReport('cp', metrics, {
  json: values.json,
  notes: peer ? [] : ['dockerd was not measured: install docker.io (deploy/install/setup.sh --bench)'],
});
