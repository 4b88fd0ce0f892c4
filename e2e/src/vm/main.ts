// npm run test:vm: what needs a stock kernel with pure cgroup v2, or a host that can be booted, in small virtual machines.
//   main.js                   the kernel-facing tests in two machines, and what --reboot does beside them
//   main.js --reboot          containers over restarts of the unit, a reboot and a power cut, in one machine
//   main.js FILE…             only the tests of these files, in one machine
//   main.js --command CMD     run another command instead of the tests, in one machine
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { repositoryDisk, type VmImage, vmImage } from './image.js';
import { Machine } from './machine.js';
import { runReboots } from './reboot/host.js';

const { values, positionals } = parseArgs({
  options: { command: { type: 'string' }, reboot: { type: 'boolean', default: false } },
  allowPositionals: true,
});

/** A busy machine is ten times slower than an idle one; this bounds a hang, it does not time the tests. */
const TIMEOUT_MS = 30 * 60_000;
/** One emulated processor each, so two keep a small machine busy: no more are booted at a time. */
const AT_ONCE = 2;

const tests = `node node_modules/vitest/vitest.mjs run --project vm --no-color --shard=$SHARE ${positionals.join(' ')}`;
const isPart = values.command !== undefined || positionals.length > 0;
const machines = values.reboot ? 0 : isPart ? 1 : AT_ONCE;
const say = (line: string) => console.log(`vm: ${line}`);

/** Runs the command in $SHARE's part of it, in a machine that has nothing else to do. */
async function runShare(image: VmImage, repository: string, number: number): Promise<number> {
  const name = machines === 1 ? '' : `vm${number}: `;
  const machine = await Machine.create(image, repository, String(number));
  try {
    return await machine.boot({
      arguments: ['init=/sbin/lab-init', `share=${number}/${machines}`],
      timeoutMs: TIMEOUT_MS,
      memoryMiB: 2048,
      print: (line) => console.log(name + line),
    });
  } finally {
    machine.remove();
  }
}

interface Job {
  readonly name: string;
  /** Resolves to an exit code. */
  readonly run: () => Promise<number>;
}

/** Does what has not been begun, one after the other. */
async function work(jobs: Job[]): Promise<void> {
  for (let job = jobs.shift(); job; job = jobs.shift()) {
    const beganMs = systemClock.monotonic();
    const code = await job.run();
    const seconds = (systemClock.monotonic() - beganMs) / 1000;
    say(`${job.name}: exit code ${code} after ${seconds.toFixed(1)} s`);
    process.exitCode ||= code;
  }
}

try {
  const image = await vmImage(say);
  const repository = await repositoryDisk(values.command ?? tests);
  say('booting');
  const shares = Array.from(
    { length: machines },
    (_, i): Job => ({
      name: `vm${i + 1}`,
      run: () => runShare(image, repository, i + 1),
    }),
  );
  const print = (line: string) => console.log(line);
  const reboots = {
    name: 'reboots',
    run: () => runReboots(image, repository, { timeoutMs: TIMEOUT_MS, print }),
  };
  // The longest first.
  const jobs = values.reboot || !isPart ? [reboots, ...shares] : shares;
  await Promise.all(Array.from({ length: AT_ONCE }, () => work(jobs)));
} catch (error) {
  console.error(`vm: ${errorText(error)}`);
  process.exitCode = 1;
}
