import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { delay, systemClock } from '@tessera/shared/env';
import { processIdentity } from '@tessera/shared/process';
import { aTask, FakeClock } from '@tessera/shared/testing';
import { onTestFinished } from 'vitest';
import { ContainerExecutor } from './container/index.js';
import { openRig } from './container/testing/rig.js';
import type { Controller } from './executor.js';
import { type ContractHost, controllerContract } from './testing/controller-contract.js';
import { FakeExecutor, FakeHost } from './testing/index.js';

let taskCount = 0;

controllerContract('fake', async (): Promise<ContractHost> => {
  const host = new FakeHost(new FakeClock());
  const newTask = () => aTask({ id: `task-${++taskCount}` });
  return {
    executor: new FakeExecutor(host),
    longTask: newTask,
    listens: async () => {},
    endingTask(exitCode) {
      const task = newTask();
      return { task, release: async () => host.exit(task.id, exitCode) };
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
    listens: hasHandler,
    endingTask(exitCode) {
      const task = rig.task(['sh', '-c', `trap 'exit ${exitCode}' USR1; while :; do sleep 0.02; done`]);
      return { task, release: endBySignal };
    },
    nextExecutor: () => ContainerExecutor.open(rig.options),
    containerCount: async () => (existsSync(containers) ? readdirSync(containers).length : 0),
  };
});

const SIGTERM_BIT = 1n << 14n;

/** Until the container's first process catches SIGTERM (proc(5), SigCgt). */
async function hasHandler(controller: Controller): Promise<void> {
  const { pid } = controller.status()!;
  const caught = () => /^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  while ((BigInt(`0x${caught()}`) & SIGTERM_BIT) === 0n) await delay(systemClock, 10);
}

/** The first process of a container ignores what it has no handler for yet: the signal is sent until it is heard. */
async function endBySignal(controller: Controller): Promise<void> {
  const { pid } = controller.status()!;
  while (processIdentity(pid)) {
    try {
      process.kill(pid, 'SIGUSR1');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await delay(systemClock, 20);
  }
}
