// For crash.test.ts: a process that loads the archive on its stdin into the store at argv[2], and tells when it
// has begun to wait for more. It is killed at some moment.
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { LocalImageStore } from '../local-image-store.js';

const store = await LocalImageStore.open({
  directory: process.argv[2]!,
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
});
process.stdout.write('open\n');
await store.load(process.stdin, (line) => process.stdout.write(`${line}\n`), new AbortController().signal);
