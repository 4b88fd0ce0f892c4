import { expect, test } from 'vitest';
import { allOrNone, GroupCommit, SharedWork, Slots } from './shared-work.js';

const signal = new AbortController().signal;
function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('work under one key is done once, and its outcome is everyone’s', async () => {
  const shared = new SharedWork<number>();
  const gate = deferred<number>();
  let runCount = 0;
  const work = () => {
    runCount++;
    return gate.promise;
  };

  const all = [shared.run('a', signal, work), shared.run('a', signal, work), shared.run('b', signal, work)];
  gate.resolve(7);

  expect(await Promise.all(all)).toEqual([7, 7, 7]);
  expect(runCount).toBe(2);
  await shared.run('a', signal, work);
  expect(runCount).toBe(3);
});

test('a failure is everyone’s, too', async () => {
  const shared = new SharedWork<number>();
  const gate = deferred<number>();

  const all = [0, 1].map(() => shared.run('a', signal, () => gate.promise));
  gate.reject(new Error('no'));

  for (const promise of all) await expect(promise).rejects.toThrow('no');
});

test('whoever waits for work that was aborted does it anew', async () => {
  const shared = new SharedWork<string>();
  const first = new AbortController();
  const aborted = shared.run('a', first.signal, async () => {
    await new Promise((resolve) => first.signal.addEventListener('abort', resolve));
    throw new Error('whatever abortion looks like');
  });
  const waiting = shared.run('a', signal, async () => 'done');

  first.abort();

  await expect(aborted).rejects.toThrow();
  expect(await waiting).toBe('done');
});

test('whoever waits can stop waiting without stopping the work', async () => {
  const shared = new SharedWork<string>();
  const gate = deferred<string>();
  const impatient = new AbortController();
  const working = shared.run('a', signal, () => gate.promise);
  const waiting = shared.run('a', impatient.signal, () => gate.promise);

  impatient.abort();
  await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
  gate.resolve('done');

  expect(await working).toBe('done');
});

test('the first failure aborts the others, and is thrown when all have ended', async () => {
  const ended: string[] = [];
  const failing = allOrNone(signal, [
    async () => {
      throw new Error('first');
    },
    async (both) => {
      await new Promise((resolve) => both.addEventListener('abort', resolve));
      await turn();
      ended.push('second');
      throw new Error('second');
    },
  ]);

  await expect(failing).rejects.toThrow('first');
  expect(ended).toEqual(['second']);
});

test('no more run at once than there are slots', async () => {
  const slots = new Slots(2);
  const gates = [0, 1, 2].map(() => deferred<void>());
  const running: number[] = [];
  const all = gates.map((gate, index) =>
    slots.use(signal, () => {
      running.push(index);
      return gate.promise;
    }),
  );

  await turn();
  expect(running).toEqual([0, 1]);
  gates[1]!.resolve();
  await turn();
  expect(running).toEqual([0, 1, 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all(all);
});

test('commits that come while one runs share the next', async () => {
  const gates = [deferred<void>(), deferred<void>()];
  let count = 0;
  const group = new GroupCommit(() => gates[count++]!.promise);
  const done: string[] = [];

  const first = group.run().then(() => done.push('first'));
  const others = ['second', 'third'].map((name) => group.run().then(() => done.push(name)));
  expect(count).toBe(1);
  gates[0]!.resolve();
  await first;
  await turn();
  expect([count, done]).toEqual([2, ['first']]);
  gates[1]!.resolve();
  await Promise.all(others);

  expect(done).toEqual(['first', 'second', 'third']);
});
