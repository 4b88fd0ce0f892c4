import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { artefactPath, callAsync, declare } from './library.js';

/** Loads the library in a worker alone, and tells whether it is still mapped when that has ended. */
const PROGRAM = `
  import { readFileSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';
  const [koffi, library] = process.argv.slice(1);
  const source = "const { parentPort, workerData } = require('node:worker_threads');" +
    "globalThis.core = require(workerData.koffi).load(workerData.library);" +
    "parentPort.on('message', () => undefined); parentPort.postMessage('loaded');";
  const worker = new Worker(source, { eval: true, execArgv: [], workerData: { koffi, library } });
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await worker.terminate();
  process.stdout.write(String(readFileSync('/proc/self/maps', 'utf8').includes(library)));
`;

test('the library outlives the thread that loaded it, for threads of its own run in it', async () => {
  const koffi = new URL(import.meta.resolve('koffi')).pathname;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--input-type=module', '-e', PROGRAM],
    ...[koffi, artefactPath('libcore.so')],
  ]);

  expect(stdout).toBe('true');
});

test('more calls than koffi takes at once wait for their turn', async () => {
  const sync = declare('int rt_syncfs(const char *path, void *err)');

  const results = await Promise.all(Array.from({ length: 600 }, () => callAsync(sync, '/proc')));

  expect(results.every((result) => result === 0)).toBe(true);
});
