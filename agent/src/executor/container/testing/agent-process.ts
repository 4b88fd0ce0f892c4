import { createInterface } from 'node:readline';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Task } from '@tessera/shared/model';
import { ContainerExecutor } from '../container-executor.js';
import { directoryImages } from './rig.js';

// An agent reduced to its executor, in a process of its own, so that a test can kill it. Its argument is a JSON of
// where things lie; each line of its input is a task to start, each line of its output what came of it.

const { dataDir, runDir, cgroupParent, layer } = JSON.parse(process.argv[2]!) as Record<string, string>;
const executor = await ContainerExecutor.open({
  dataDir: dataDir!,
  runDir: runDir!,
  cgroupParent: cgroupParent!,
  images: directoryImages([layer!]),
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
});
process.stdout.write('ready\n');

for await (const line of createInterface({ input: process.stdin })) {
  const task = Task.fromJSON(JSON.parse(line));
  const controller = executor.controller(task);
  const { signal } = new AbortController();
  await controller.prepare(signal);
  process.stdout.write(`${JSON.stringify(controller.status())}\n`);
  await controller.start(signal);
  process.stdout.write(`${JSON.stringify(controller.status())}\n`);
}
