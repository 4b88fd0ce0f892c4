// npm run test:vm: the kernel-facing tests on a stock kernel with pure cgroup v2, in small virtual machines.
//   main.js [--command CMD]   run another command instead of the tests, in one machine
//   main.js FILE…             only the tests of these files, in one machine
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { repositoryDisk, vmImage } from './image.js';
import { boot } from './machine.js';

const { values, positionals } = parseArgs({
  options: { command: { type: 'string' } },
  allowPositionals: true,
});

/** A busy machine is ten times slower than an idle one; this bounds a hang, it does not time the tests. */
const TIMEOUT_MS = 30 * 60_000;
/** One emulated processor each, so two keep a small machine busy. */
const MACHINES = 2;

const tests = `node node_modules/vitest/vitest.mjs run --project vm --no-color --shard=$SHARE ${positionals.join(' ')}`;
const machines = values.command !== undefined || positionals.length > 0 ? 1 : MACHINES;
const say = (line: string) => console.log(`vm: ${line}`);

try {
  const image = await vmImage(say);
  const repository = await repositoryDisk(values.command ?? tests);
  const beganMs = systemClock.monotonic();
  const run = async (number: number): Promise<number> => {
    const name = machines === 1 ? '' : `vm${number}: `;
    const code = await boot(image, repository, {
      share: `${number}/${machines}`,
      timeoutMs: TIMEOUT_MS,
      memoryMiB: 2048,
      print: (line) => console.log(name + line),
    });
    say(`${name}exit code ${code} after ${((systemClock.monotonic() - beganMs) / 1000).toFixed(1)} s`);
    return code;
  };
  say('booting');
  const codes = await Promise.all(Array.from({ length: machines }, (_, i) => run(i + 1)));
  process.exitCode = codes.find((code) => code !== 0) ?? 0;
} catch (error) {
  console.error(`vm: ${errorText(error)}`);
  process.exitCode = 1;
}
