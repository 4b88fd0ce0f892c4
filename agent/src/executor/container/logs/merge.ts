import type { LogRecord } from '@tessera/shared/wire';

/** Several tasks' histories, each in order, as one in order of time. */
export async function* mergeByTime(sources: readonly AsyncGenerator<LogRecord>[]): AsyncGenerator<LogRecord> {
  const heads: { record: LogRecord; source: AsyncGenerator<LogRecord> }[] = [];
  try {
    for (const source of sources) {
      const { value, done } = await source.next();
      if (!done) heads.push({ record: value, source });
    }
    while (heads.length > 0) {
      let first = 0;
      for (let i = 1; i < heads.length; i++) if (isBefore(heads[i]!.record, heads[first]!.record)) first = i;
      const head = heads[first]!;
      yield head.record;
      const { value, done } = await head.source.next();
      if (done) heads.splice(first, 1);
      else heads[first] = { record: value, source: head.source };
    }
  } finally {
    await Promise.all(sources.map((source) => source.return(undefined)));
  }
}

const isBefore = (a: LogRecord, b: LogRecord): boolean =>
  a.seconds === b.seconds ? a.nanos < b.nanos : a.seconds < b.seconds;

/** Several live logs, each in order, as they come. One that fails ends them all. */
export async function* mergeLive(sources: readonly AsyncGenerator<LogRecord[]>[]): AsyncGenerator<LogRecord> {
  const pending = new Map(sources.map((source) => [source, nextOf(source)]));
  try {
    while (pending.size > 0) {
      const { source, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(source);
        continue;
      }
      yield* result.value;
      pending.set(source, nextOf(source));
    }
  } finally {
    // Those still waiting end with their signal; nobody hears of them any more.
    for (const promise of pending.values()) promise.catch(() => {});
  }
}

const nextOf = async (source: AsyncGenerator<LogRecord[]>) => ({ source, result: await source.next() });
