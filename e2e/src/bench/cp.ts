// npm run bench -- cp [--megabytes 200] [--rounds 3] [--json]
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Metric, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { must } from '../lab/command.js';
import { besideDockerd, medians } from './beside-dockerd.js';

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

const metrics: Metric[] = [];
const notes = await besideDockerd('cp', async ({ lab, sockets, sample, compared }) => {
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
    // What is copied out; and files that are there already are replaced.
    await timeMs(socket, 'cp', `${source}/.`, 'up:/tmp/');
    await timeMs(socket, 'cp', `${source}/large`, 'down:/tmp/');
  }
  const target = `${lab.dir}/target`;
  mkdirSync(target);
  let copies = 0;
  for (const [what, container, kind] of [
    [`${MEGABYTES} MB`, 'up', 'large'],
    [`${MEGABYTES} MB, not running`, 'down', 'large'],
    [`${SMALL_COUNT} files`, 'up', 'small'],
  ] as const) {
    // Small files are never replaced or removed in between: before ext4 makes an inode it looks at each one of its group that
    // was freed within the last minute, which would be most of what is measured.
    const isKept = kind === 'small';
    const directions = {
      in: (socket: string) =>
        timeMs(socket, 'cp', `${source}/${kind}`, `${container}:/tmp/${isKept ? copies++ : ''}`),
      out: async (socket: string) => {
        const place = `${target}/${copies++}`;
        const tookMs = await timeMs(socket, 'cp', `${container}:/tmp/${kind}`, place);
        if (!isKept) rmSync(place, { recursive: true });
        return tookMs;
      },
    };
    for (const [direction, copy] of Object.entries(directions))
      metrics.push(
        compared(`${what}, ${direction}`, 'ms', medians(await sample(Number(values.rounds), copy))),
      );
  }
});
printReport('cp', metrics, { json: values.json, notes });
