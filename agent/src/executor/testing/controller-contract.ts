import type { Task } from '@tessera/shared/model';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Controller, Executor } from '../executor.js';

/** A host with an executor, as the contract needs one. */
export interface ContractHost {
  readonly executor: Executor;
  /** A task whose command runs until it is stopped, and ends with 143 on SIGTERM. */
  longTask(): Task;
  /** Resolves once what runs a long task would hear SIGTERM: a first process ignores it until it has a handler. */
  listens(controller: Controller): Promise<void>;
  /** A task whose command ends with this code, by itself, once `release` is called on what runs it. */
  endingTask(exitCode: number): { readonly task: Task; release(controller: Controller): Promise<void> };
  /** The executor of the next agent on this host; the one of before is not used any more. */
  nextExecutor(): Promise<Executor>;
  /** How many containers the host has, whatever state they are in. */
  containerCount(): Promise<number>;
}

/** What every executor and its controllers promise: the fake ones of tests and the real ones alike. */
export function controllerContract(name: string, open: () => Promise<ContractHost>): void {
  const { signal } = new AbortController();

  async function aController(host: ContractHost, task: Task): Promise<Controller> {
    const controller = host.executor.controller(task);
    onTestFinished(() => controller.remove());
    return controller;
  }
  async function started(host: ContractHost, task: Task): Promise<Controller> {
    const controller = await aController(host, task);
    await controller.prepare(signal);
    await controller.start(signal);
    return controller;
  }

  describe(`a controller (${name})`, () => {
    test('has no container before it is prepared, and a running one once it is started', async () => {
      const host = await open();
      const controller = await aController(host, host.longTask());
      expect(controller.status()).toBeUndefined();

      await controller.prepare(signal);
      await controller.start(signal);

      expect(controller.status()).toMatchObject({ exitCode: 0, oomKilled: false, finishedAtMs: 0 });
      expect(controller.status()?.pid).toBeGreaterThan(0);
      expect(controller.status()?.startedAtMs).toBeGreaterThan(0);
    });

    test('does nothing new when it is prepared and started again', async () => {
      const host = await open();
      const controller = await started(host, host.longTask());
      const before = controller.status();

      await controller.prepare(signal);
      await controller.start(signal);

      expect(controller.status()).toEqual(before);
      expect(await host.containerCount()).toBe(1);
    });

    test('tells how the container ended, to everyone who waits and as often as asked', async () => {
      const host = await open();
      const { task, release } = host.endingTask(7);
      const controller = await started(host, task);
      const waiting = [controller.wait(signal), controller.wait(signal)];

      await release(controller);

      for (const exit of await Promise.all(waiting))
        expect(exit).toMatchObject({ exitCode: 7, oomKilled: false });
      expect(await controller.wait(signal)).toMatchObject({ exitCode: 7 });
      expect(controller.status()).toMatchObject({ exitCode: 7, pid: 0 });
    });

    test('can be waited for again after a wait was given up', async () => {
      const host = await open();
      const { task, release } = host.endingTask(3);
      const controller = await started(host, task);
      const giveUp = new AbortController();
      const first = controller.wait(giveUp.signal);

      giveUp.abort();

      await expect(first).rejects.toThrow();
      await release(controller);
      expect(await controller.wait(signal)).toMatchObject({ exitCode: 3 });
    });

    test('shuts down what runs, and says the same when asked again', async () => {
      const host = await open();
      const controller = await started(host, host.longTask());
      await host.listens(controller);

      const exit = await controller.shutdown(signal);

      expect(exit).toMatchObject({ exitCode: 143 });
      expect(await controller.shutdown(signal)).toEqual(exit);
      expect(await controller.wait(signal)).toEqual(exit);
    });

    test('has nothing to shut down where nothing ran', async () => {
      const host = await open();
      const controller = await aController(host, host.longTask());

      expect(await controller.shutdown(signal)).toBeUndefined();
      await controller.prepare(signal);
      expect(await controller.shutdown(signal)).toBeUndefined();
    });

    test('keeps the code of a container that had ended before it was shut down', async () => {
      const host = await open();
      const { task, release } = host.endingTask(5);
      const controller = await started(host, task);
      await release(controller);
      await controller.wait(signal);

      expect(await controller.shutdown(signal)).toMatchObject({ exitCode: 5 });
    });

    test('starts nothing when it is told beforehand not to', async () => {
      const host = await open();
      const controller = await aController(host, host.longTask());
      const abort = new AbortController();
      abort.abort();

      await controller.prepare(signal);
      await expect(controller.start(abort.signal)).rejects.toThrow();

      expect(controller.status()?.pid ?? 0).toBe(0);
    });

    test('leaves nothing behind when it is removed, however often and in whatever state', async () => {
      const host = await open();
      const untouched = await aController(host, host.longTask());
      const prepared = await aController(host, host.longTask());
      await prepared.prepare(signal);
      const running = await started(host, host.longTask());

      for (const controller of [untouched, prepared, running]) {
        await controller.remove();
        await controller.remove();
      }

      expect(await host.containerCount()).toBe(0);
    });
  });

  describe(`the next agent (${name})`, () => {
    test('adopts a container that runs: the same process, and its end is seen', async () => {
      const host = await open();
      const { task, release } = host.endingTask(9);
      const { pid, containerId } = (await started(host, task)).status()!;

      const next = await host.nextExecutor();
      await next.recover(new Set([task.id]));
      const adopted = next.controller(task);
      onTestFinished(() => adopted.remove());

      expect(adopted.status()).toMatchObject({ pid, containerId });
      await release(adopted);
      expect(await adopted.wait(signal)).toMatchObject({ exitCode: 9 });
    });

    test('removes what belongs to no task it knows', async () => {
      const host = await open();
      await started(host, host.longTask());
      expect(await host.containerCount()).toBe(1);

      const next = await host.nextExecutor();
      await next.recover(new Set());

      expect(await host.containerCount()).toBe(0);
    });

    test('can shut down and remove what an earlier one has started', async () => {
      const host = await open();
      const task = host.longTask();
      await started(host, task);

      const next = await host.nextExecutor();
      await next.recover(new Set([task.id]));
      const adopted = next.controller(task);

      await host.listens(adopted);
      expect(await adopted.shutdown(signal)).toMatchObject({ exitCode: 143 });
      await adopted.remove();
      expect(await host.containerCount()).toBe(0);
    });
  });
}
