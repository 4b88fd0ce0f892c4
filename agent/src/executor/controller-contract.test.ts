import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { aTask, FakeClock } from '@tessera/shared/testing';
import { onTestFinished } from 'vitest';
import { ContainerExecutor } from './container/index.js';
import { openRig } from './container/testing/rig.js';
import { type ContractHost, controllerContract, FakeExecutor, FakeHost } from './testing/index.js';

let taskCount = 0;

controllerContract('fake', async (): Promise<ContractHost> => {
  const host = new FakeHost(new FakeClock());
  const newTask = () => aTask({ id: `task-${++taskCount}` });
  return {
    executor: new FakeExecutor(host),
    longTask: newTask,
    endingTask(exitCode) {
      const task = newTask();
      return { task, release: () => host.exit(task.id, exitCode) };
    },
    nextExecutor: async () => new FakeExecutor(host),
    containerCount: async () => host.containers.size,
  };
});

controllerContract('real', async (): Promise<ContractHost> => {
  const rig = await openRig();
  onTestFinished(() => rig.close());
  const containers = join(rig.options.dataDir, 'containers');
  return {
    executor: rig.executor,
    longTask: () => rig.task(['sh', '-c', "trap 'exit 143' TERM; while :; do sleep 0.05; done"]),
    endingTask(exitCode) {
      const name = `release-${++taskCount}`;
      const flag = join(rig.layer, name);
      // The lower layer is the test's own: what is made there appears in the container.
      const script = `while ! test -e /${name}; do sleep 0.02; done; exit ${exitCode}`;
      return { task: rig.task(['sh', '-c', script]), release: () => writeFileSync(flag, '') };
    },
    nextExecutor: () => ContainerExecutor.open(rig.options),
    containerCount: async () => (existsSync(containers) ? readdirSync(containers).length : 0),
  };
});
