import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { aTask, aTaskStatus } from '@tessera/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TaskJournal } from './task-journal.js';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-journal-'));
  path = join(dir, 'agent', 'tasks.journal');
});
afterEach(() => rmSync(dir, { recursive: true }));

const stored = (id: string, state: 'assigned' | 'running' | 'failed' = 'running') => ({
  task: aTask({ id }),
  status: aTaskStatus({ taskId: id, state }),
});
const states = (journal: TaskJournal) =>
  [...journal.all()].map(([id, { status }]) => `${id} ${status.state}`);

test('tasks and their last status are found again, without the journal having been closed', () => {
  const journal = new TaskJournal(path);
  journal.put(stored('a', 'assigned'));
  journal.put(stored('b', 'assigned'));
  journal.put(stored('a', 'running'));
  journal.delete('b');

  const again = new TaskJournal(path);

  expect(states(again)).toEqual(['a running']);
  expect(again.all().get('a')?.task).toEqual(aTask({ id: 'a' }));
});

test('a record torn by a death in mid-write is dropped, and what came before is kept', () => {
  const journal = new TaskJournal(path);
  journal.put(stored('a'));
  const whole = statSync(path).size;
  journal.put(stored('b'));

  const full = readFileSync(path);
  for (let length = whole; length < full.length; length += 7) {
    writeFileSync(path, full.subarray(0, length));
    const again = new TaskJournal(path);
    expect(again.all().has('a')).toBe(true);
    again.close();
  }
});

test('what is written after a torn tail is not lost behind it', () => {
  new TaskJournal(path).put(stored('a'));
  appendFileSync(path, Buffer.from([9, 0, 0]));
  new TaskJournal(path).put(stored('b'));

  expect(states(new TaskJournal(path))).toEqual(['a running', 'b running']);
});

test('zeros left by a power cut are no records', () => {
  new TaskJournal(path).put(stored('a'));
  truncateSync(path, statSync(path).size + 4096);

  expect(states(new TaskJournal(path))).toEqual(['a running']);
});

test('the file stays bounded while statuses change for ever', () => {
  const journal = new TaskJournal(path);
  const error = 'x'.repeat(1000);
  for (let round = 0; round < 5000; round++) {
    const { task, status } = stored('a');
    journal.put({ task, status: { ...status, error, atMs: round } });
  }

  expect(statSync(path).size).toBeLessThan(1_200_000);
  expect(new TaskJournal(path).all().get('a')?.status.atMs).toBe(4999);
});

test('what was written before a kill -9 is found again, whenever it strikes', {
  timeout: 120_000,
}, async () => {
  const writer = fileURLToPath(new URL('./testing/journal-writer.ts', import.meta.url));
  for (const bytesMax of [1, 3_000, 40_000]) {
    const child = spawn(process.execPath, ['--conditions=tessera-source', '--import', 'tsx', writer, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (part: Buffer) => {
      said += part.toString();
      if (said.length >= bytesMax) child.kill('SIGKILL');
    });
    await once(child, 'close');

    const last = Number(said.split('\n').at(-2));
    const found = new TaskJournal(path);
    expect(last).toBeGreaterThan(0);
    expect(found.all().get('a')?.status.atMs).toBeGreaterThanOrEqual(last);
    found.delete('a');
    found.close();
  }
});

test('a full disk ends nothing: an agent starts on it, and what it kept back is written once there is room', {
  timeout: 120_000,
}, () => {
  const script = fileURLToPath(new URL('./testing/full-disk.ts', import.meta.url));
  const node = [process.execPath, '--conditions=tessera-source', '--import', 'tsx', script, dir];
  const mountAndRun = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"';
  const said = execFileSync('unshare', ['--mount', 'sh', '-c', mountAndRun, dir, ...node], {
    encoding: 'utf8',
  });

  expect(
    said
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { stage: 'full', tasks: ['a'], faults: ['ENOSPC', 'ENOSPC'] },
    { stage: 'emptied', tasks: ['a', 'b', 'c', 'd'], faults: [] },
  ]);
});
