import type { LogRecord } from '@tessera/shared/wire';

/** A frame's size: large enough that its envelope does not count, small beside the bound of one. */
const BATCH_BYTES = 64 * 1024;

/**
 * Gathers records into batches. A batch goes out when it is full, or when no further record is there yet, so that a
 * follower sees a line at once and a long history travels in few frames.
 */
export async function* logBatches(records: AsyncIterable<LogRecord>): AsyncGenerator<LogRecord[]> {
  const iterator = records[Symbol.asyncIterator]();
  let batch: LogRecord[] = [];
  let bytes = 0;
  let next = iterator.next();
  try {
    for (;;) {
      const result = batch.length > 0 ? await Promise.race([next, aTurn()]) : await next;
      if (result === NOT_YET || result.done || bytes >= BATCH_BYTES) {
        if (batch.length > 0) yield batch;
        batch = [];
        bytes = 0;
      }
      if (result === NOT_YET) continue;
      if (result.done) return;
      batch.push(result.value);
      bytes += result.value.line.length;
      next = iterator.next();
    }
  } finally {
    // A rejection that nobody waits for any more is not news.
    next.catch(() => undefined);
    await iterator.return?.();
  }
}

const NOT_YET = Symbol('no record yet');

const aTurn = (): Promise<typeof NOT_YET> => new Promise((resolve) => setImmediate(() => resolve(NOT_YET)));
