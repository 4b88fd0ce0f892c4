import { expect, test } from 'vitest';
import { FilesLock } from './files-lock.js';

const never = new AbortController().signal;

/** What has been granted so far, in order. */
function asked(lock: FilesLock) {
  const granted: string[] = [];
  const ask = async (name: string, kind: 'shared' | 'exclusive', signal = never) => {
    const release = await lock.acquire(kind, signal);
    granted.push(name);
    return release;
  };
  return { granted, ask };
}

const aTurn = () => new Promise((resolve) => setImmediate(resolve));

test('many share, one is alone, and each has its turn', async () => {
  const { granted, ask } = asked(new FilesLock());
  const [one, two] = [await ask('one', 'shared'), await ask('two', 'shared')];
  const alone = ask('alone', 'exclusive');
  const later = ask('later', 'shared');
  one();
  await aTurn();
  expect(granted).toEqual(['one', 'two']);
  two();
  const release = await alone;
  await aTurn();
  expect(granted).toEqual(['one', 'two', 'alone']);
  release();
  release();
  (await later)();
  expect(granted).toEqual(['one', 'two', 'alone', 'later']);
});

test('who gives up waiting holds nobody back', async () => {
  const { granted, ask } = asked(new FilesLock());
  const one = await ask('one', 'shared');
  const giveUp = new AbortController();
  const alone = ask('alone', 'exclusive', giveUp.signal);
  const two = ask('two', 'shared');
  giveUp.abort(new Error('enough'));
  await expect(alone).rejects.toThrow('enough');
  (await two)();
  one();
  expect(granted).toEqual(['one', 'two']);
});
