import { createInterface } from 'node:readline';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Task } from '@tessera/shared/model';
import type { ExecRequest, LiveContainer } from '../../live-container.js';
import { ContainerExecutor } from '../container-executor.js';
import { directoryImages } from './rig.js';

// An agent reduced to its executor, in a process of its own, so that a test can kill it. Its argument is a JSON of
// where things lie; each line of its input is a task to start, each line of its output what came of it. A line that
// holds an exec starts that in the container of the last task, attached to it, and a line "attach" attaches.

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
let container: LiveContainer | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'attach') {
    const streams = await container!.attach({ stdout: true, stderr: true, history: false });
    await streams.write(Buffer.from('typed\n'));
    process.stdout.write('attached\n');
    continue;
  }
  const input = JSON.parse(line) as { exec?: ExecRequest };
  if (input.exec) {
    const exec = await container!.createExec(input.exec);
    await exec.start({ stdout: true, stderr: true });
    process.stdout.write(`${JSON.stringify(exec.status())}\n`);
    continue;
  }
  const task = Task.fromJSON(input);
  const controller = executor.controller(task);
  const { signal } = new AbortController();
  await controller.prepare(signal);
  process.stdout.write(`${JSON.stringify(controller.status())}\n`);
  await controller.start(signal);
  container = executor.live(controller.status()!.containerId);
  process.stdout.write(`${JSON.stringify(controller.status())}\n`);
}
// The test's process has gone: what runs is removed by the next one.
process.exit();
