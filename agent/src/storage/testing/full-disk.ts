// full-disk.js DIR: what becomes of a journal on a small file system that fills up and is emptied again. Prints the
// tasks found at each stage as a line of JSON.
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { aTask, aTaskStatus } from '@tessera/shared/testing';
import { TaskJournal } from '../task-journal.js';

const dir = process.argv[2]!;
const path = join(dir, 'tasks.journal');
const filler = join(dir, 'filler');
const faults: string[] = [];
const open = () => new TaskJournal(path, (error) => faults.push((error as NodeJS.ErrnoException).code ?? ''));
const stored = (id: string, error = '') => ({
  task: aTask({ id }),
  status: aTaskStatus({ taskId: id, state: 'running', error }),
});
const say = (stage: string) =>
  console.log(JSON.stringify({ stage, tasks: [...open().all().keys()], faults: faults.splice(0) }));

function fill(): void {
  const file = openSync(filler, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(512));
  } catch {
    closeSync(file);
  }
}

const journal = open();
journal.put(stored('a'));
fill();
// Larger than what is left of the file's last page, so that half of it is written.
journal.put(stored('b', 'x'.repeat(20_000)));
journal.put(stored('c'));
say('full');
rmSync(filler);
journal.put(stored('d'));
say('emptied');
