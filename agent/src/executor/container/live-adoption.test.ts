import { readFileSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ExecStatus } from '../live-container.js';
import { ContainerExecutor } from './container-executor.js';
import { AgentProcess } from './testing/killable-agent.js';
import { anExec, openRig, type Rig, readAll, readLog } from './testing/rig.js';

// Processes of Node are started here, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const { signal } = new AbortController();

let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

async function nextAgent(...known: string[]): Promise<ContainerExecutor> {
  const executor = await ContainerExecutor.open(rig.options);
  await executor.recover(new Set(known));
  return executor;
}

/** Resolves once the file has come to be inside the container. */
async function seen(pid: number, path: string): Promise<void> {
  for (;;) {
    try {
      readFileSync(`/proc/${pid}/root${path}`);
      return;
    } catch {
      await delay(systemClock, 5);
    }
  }
}

test('execs outlive a killed agent: what ended meanwhile has its code, what runs can be resized, signalled and waited for', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task(['sh', '-c', 'while [ ! -e /over ]; do sleep 0.02; done; exit 3']);
  const { pid, containerId } = await agent.start(task);
  const exec = async (script: string, tty = false) =>
    JSON.parse(
      await agent.tell(JSON.stringify({ exec: anExec(['sh', '-c', script], { tty, stdin: tty }) })),
    ) as ExecStatus;
  const ended = await exec('yes | head -c 9000000; touch /wrote; exit 11');
  const runs = await exec(
    'trap "exit 12" USR1; trap "stty size > /size" WINCH; touch /ready; while :; do sleep 0.02; done',
    true,
  );
  await seen(pid, '/ready');
  await agent.kill();
  // Nobody reads any more what the first one writes, so it goes on to its end.
  await seen(pid, '/wrote');

  const executor = await nextAgent(task.id);
  const container = executor.live(containerId)!;
  expect(await container.exec(ended.id).wait(signal)).toBe(11);
  const adopted = container.exec(runs.id);
  expect(adopted.status()).toMatchObject({ state: 'running', pid: runs.pid, request: runs.request });
  await adopted.resize({ rows: 11, columns: 22 });
  await seen(pid, '/size');
  await adopted.signal(10);
  expect(await adopted.wait(signal)).toBe(12);
  const fresh = await container.createExec(anExec(['touch', '/over']));
  await fresh.start(undefined);
  const controller = executor.controller(task);
  expect(await controller.wait(signal)).toMatchObject({ exitCode: 3 });
  await controller.remove();
});

test('an agent killed while attached leaves stdin open and the output whole', async () => {
  const agent = new AgentProcess(rig);
  const task = rig.task(
    ['sh', '-c', 'trap "exit 9" TERM; read a; echo "$a"; read b; echo "$b"; while :; do sleep 0.02; done'],
    {
      openStdin: true,
    },
  );
  const { containerId } = await agent.start(task);
  expect(await agent.tell('attach')).toBe('attached');
  await agent.kill();

  const executor = await nextAgent(task.id);
  const streams = await executor.live(containerId)!.attach({ stdout: true, stderr: true, history: true });
  await streams.write(Buffer.from('after\n'));
  const output = await readAll(streams, ({ stdout }) => stdout.includes('after'));

  expect(output.stdout).toBe('typed\nafter\n');
  const controller = executor.controller(task);
  expect(await controller.shutdown(signal)).toMatchObject({ exitCode: 9 });
  expect(readLog(`${rig.options.dataDir}/containers/${containerId}`).stdout).toBe('typed\nafter\n');
  await controller.remove();
});

test('the end of a person’s container, its execs and its log are found by the next agent', async () => {
  const container = await rig.create([
    'sh',
    '-c',
    'echo begun; while [ ! -e /over ]; do sleep 0.02; done; exit 4',
  ]);
  await container.start();
  const exec = await container.createExec(anExec(['sh', '-c', 'exit 6']));
  await exec.start(undefined);
  await exec.wait(signal);
  const running = await container.createExec(anExec(['sleep', '1000']));
  await running.start(undefined);
  await (await container.createExec(anExec(['touch', '/over']))).start(undefined);
  await container.exit();

  const next = (await nextAgent(container.id)).container(container.id);
  expect(next.life).toMatchObject({ kind: 'exited', exit: { exitCode: 4 } });
  expect(await next.exec(exec.id).wait(signal)).toBe(6);
  expect(await next.exec(running.id).wait(signal)).toBe(137);
  await next.start(container.asked, signal);
  expect(() => next.exec(exec.id)).toThrow(/not found/);
  await next.remove();
  await container.remove();
});
