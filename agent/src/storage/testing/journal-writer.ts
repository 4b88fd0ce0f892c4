import { writeSync } from 'node:fs';
import { aTask, aTaskStatus } from '@tessera/shared/testing';
import { TaskJournal } from '../task-journal.js';

// Writes to the journal named by its argument, without end, and says after each write how far it has come, so that a
// test can kill it in the middle and know what must be found again.

const journal = new TaskJournal(process.argv[2]!);
const task = aTask({ id: 'a' });
for (let count = 1; ; count++) {
  // Of growing size, so that the file is rewritten now and then as well.
  journal.put({ task, status: aTaskStatus({ taskId: 'a', atMs: count, error: 'x'.repeat(count % 5_000) }) });
  // Waits for the reader; `process.stdout` would keep what it cannot send at once until this loop ends: never.
  writeSync(1, `${count}\n`);
}
