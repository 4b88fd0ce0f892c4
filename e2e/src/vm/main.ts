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
/** One emulated processor each, so two keep a small machine busy. */
const MACHINES = 2;

const tests = `node node_modules/vitest/vitest.mjs run --project vm --no-color --shard=$SHARE ${positionals.join(' ')}`;
const isPart = values.command !== undefined || positionals.length > 0;
const machines = values.reboot ? 0 : isPart ? 1 : MACHINES;
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

try {
  const image = await vmImage(say);
  const repository = await repositoryDisk(values.command ?? tests);
  const beganMs = systemClock.monotonic();
  const timed = async (name: string, run: Promise<number>): Promise<number> => {
    const code = await run;
    say(`${name}: exit code ${code} after ${((systemClock.monotonic() - beganMs) / 1000).toFixed(1)} s`);
    return code;
  };
  say('booting');
  const runs = Array.from({ length: machines }, (_, i) =>
    timed(`vm${i + 1}`, runShare(image, repository, i + 1)),
  );
  if (values.reboot || !isPart)
    runs.push(
      timed(
        'reboots',
        runReboots(image, repository, { timeoutMs: TIMEOUT_MS, print: (line) => console.log(line) }),
      ),
    );
  const codes = await Promise.all(runs);
  process.exitCode = codes.find((code) => code !== 0) ?? 0;
} catch (error) {
  console.error(`vm: ${errorText(error)}`);
  process.exitCode = 1;
}
