// npm run bench -- cp-across [--megabytes 200] [--rounds 3] [--json]
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Metric, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { must } from '../lab/command.js';
import { besideDockerd, medians } from './beside-dockerd.js';

// The manager that is asked is of one host and the container of another, so every byte crosses the stream between them.
// dockerd has one host, and nothing to cross: how far from it is what the way costs.

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const FILE_BYTES = 4_000_000;
const FILE_COUNT = Math.ceil((Number(values.megabytes) * 1e6) / FILE_BYTES);

const metrics: Metric[] = [];
const measure: Parameters<typeof besideDockerd>[1] = async ({ lab, sockets, sample, compared }) => {
  const source = `${lab.dir}/source`;
  const target = `${lab.dir}/target`;
  mkdirSync(source);
  const content = randomBytes(FILE_BYTES);
  for (let file = 0; file < FILE_COUNT; file++) writeFileSync(`${source}/${file}`, content);
  const timeMs = async (socket: string, ...words: string[]): Promise<number> => {
    const beganMs = systemClock.monotonic();
    await must(['docker', '-H', `unix://${socket}`, ...words]);
    return systemClock.monotonic() - beganMs;
  };
  for (const socket of sockets) {
    // dockerd takes the constraint for a variable like any other.
    const elsewhere = ['-e', 'constraint:node==host2'];
    await timeMs(socket, 'run', '-d', '--name', 'far', ...elsewhere, 'busybox', 'sleep', '36000');
    // What is copied out; and files that are there already are replaced.
    await timeMs(socket, 'cp', source, 'far:/tmp/');
  }
  const ways = {
    in: (socket: string) => timeMs(socket, 'cp', source, 'far:/tmp/'),
    out: async (socket: string) => {
      const tookMs = await timeMs(socket, 'cp', 'far:/tmp/source', target);
      rmSync(target, { recursive: true });
      return tookMs;
    },
    export: (socket: string) => timeMs(socket, 'export', '-o', `${lab.dir}/exported`, 'far'),
  };
  for (const [way, copy] of Object.entries(ways))
    metrics.push(
      compared(`${values.megabytes} MB, ${way}`, 'ms', medians(await sample(Number(values.rounds), copy))),
    );
};
const notes = await besideDockerd('across', measure, 2);
printReport('cp-across', metrics, { json: values.json, notes });
