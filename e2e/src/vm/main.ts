// npm run test:vm: what needs a stock kernel with pure cgroup v2, SELinux, or a host that can be booted, in small virtual machines.
//   main.js                   the kernel-facing tests in two machines, and beside them what --reboot and --selinux do
//   main.js --reboot          containers over restarts of the unit, a reboot and a power cut, in one machine
//   main.js --selinux         the tests of labels, in a machine that enforces them
//   main.js FILE…             only the tests of these files, each in a machine of its kind
//   main.js --command CMD     run another command instead of the tests, in one machine (with --selinux: in that one)
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { repositoryDisk, type VmImage, vmImage } from './image.js';
import { Machine } from './machine.js';
import { runReboots } from './reboot/host.js';

const { values, positionals } = parseArgs({
  options: {
    command: { type: 'string' },
    reboot: { type: 'boolean', default: false },
    selinux: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

/** A busy machine is ten times slower than an idle one; this bounds a hang, it does not time the tests. */
const TIMEOUT_MS = 30 * 60_000;
/** One emulated processor each, so two keep a small machine busy: no more are booted at a time. */
const AT_ONCE = 2;

/** One of the machines that the tests of a project of vitest are divided among. */
interface Share {
  readonly name: string;
  readonly project: 'vm' | 'selinux';
  /** As vitest's `--shard`. */
  readonly part: string;
  /** More for the kernel's command line. */
  readonly words: readonly string[];
}

const SELINUX: Share = {
  name: 'selinux',
  project: 'selinux',
  part: '1/1',
  words: ['security=selinux', 'enforcing=1'],
};
const vmShares = (count: number): Share[] =>
  Array.from({ length: count }, (_, i) => ({
    name: count === 1 ? 'vm' : `vm${i + 1}`,
    project: 'vm',
    part: `${i + 1}/${count}`,
    words: [],
  }));

const isWhole = !values.selinux && values.command === undefined && positionals.length === 0;

/** What is to be run, of what was asked for. */
function wantedShares(): Share[] {
  if (values.selinux) return [SELINUX];
  if (values.reboot) return [];
  if (values.command !== undefined) return vmShares(1);
  if (isWhole) return [...vmShares(AT_ONCE), SELINUX];
  const isLabelled = (file: string) => file.includes('selinux');
  return [
    ...(positionals.every(isLabelled) ? [] : vmShares(1)),
    ...(positionals.some(isLabelled) ? [SELINUX] : []),
  ];
}

/** Where a file of tests lies once it is built, as far as it was named. */
const compiled = (file: string): string => file.replace('/src/', '/dist/').replace(/\.ts$/, '');

const shares = wantedShares();
const tests = `node node_modules/vitest/vitest.mjs run --project $PROJECT --no-color --shard=$SHARE ${positionals.map(compiled).join(' ')}`;
const say = (line: string) => console.log(`vm: ${line}`);

/** Runs the command in a machine that has nothing else to do. */
async function runShare(image: VmImage, repository: string, share: Share): Promise<number> {
  const { name, project, part, words } = share;
  const prefix = shares.length === 1 ? '' : `${name}: `;
  const machine = await Machine.create(image, repository, name);
  try {
    return await machine.boot({
      arguments: ['init=/sbin/lab-init', `project=${project}`, `share=${part}`, ...words],
      timeoutMs: TIMEOUT_MS,
      memoryMiB: 2048,
      print: (line) => console.log(prefix + line),
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
  const jobs = shares.map(
    (share): Job => ({ name: share.name, run: () => runShare(image, repository, share) }),
  );
  const print = (line: string) => console.log(line);
  const reboots = {
    name: 'reboots',
    run: () => runReboots(image, repository, { timeoutMs: TIMEOUT_MS, print }),
  };
  // The longest first.
  if (values.reboot || isWhole) jobs.unshift(reboots);
  await Promise.all(Array.from({ length: AT_ONCE }, () => work(jobs)));
} catch (error) {
  console.error(`vm: ${errorText(error)}`);
  process.exitCode = 1;
}
