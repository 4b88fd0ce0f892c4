// npm run test:vm: the kernel-facing tests on a stock kernel with pure cgroup v2, in a small virtual machine.
//   main.js [--shell-command CMD]   run another command in the machine instead of the tests
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { repositoryDisk, vmImage } from './image.js';
import { boot } from './machine.js';

const { values } = parseArgs({ options: { command: { type: 'string' } } });

/** A busy machine is ten times slower than an idle one; this bounds a hang, it does not time the tests. */
const TIMEOUT_MS = 20 * 60_000;

try {
  const say = (line: string) => console.log(`vm: ${line}`);
  const image = await vmImage(say);
  const command = values.command ?? 'node node_modules/vitest/vitest.mjs run --project vm --no-color';
  const repository = await repositoryDisk(command);
  const beganMs = systemClock.monotonic();
  say('booting');
  const code = await boot(image, repository, {
    timeoutMs: TIMEOUT_MS,
    memoryMiB: 2048,
    print: (line) => console.log(line),
  });
  say(`exit code ${code} after ${((systemClock.monotonic() - beganMs) / 1000).toFixed(1)} s`);
  process.exitCode = code;
} catch (error) {
  console.error(`vm: ${errorText(error)}`);
  process.exitCode = 1;
}
