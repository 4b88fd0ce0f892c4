import type { LogRecord, LogsRequest } from '@tessera/shared/wire';
import type { TaskLogs } from '../../task-logs.js';
import { DirectoryWatch } from './directory-watch.js';
import { LogCursor, type StoredRecord, segmentsOf } from './log-cursor.js';
import { mergeByTime, mergeLive } from './merge.js';

/** Where a task's log lies, and until when it may grow. */
export interface LogSource {
  /** The container's directory; the log is in `log` below it. */
  readonly dataDir: string;
  /** Settles when nothing more will be written. */
  readonly closed: Promise<unknown>;
  readonly isClosed: boolean;
}

/** Reads the segments of this host's containers. */
export class SegmentTaskLogs implements TaskLogs {
  /** @param sourceOf the container a task has, or had, on this host */
  constructor(private readonly sourceOf: (taskId: string) => LogSource | undefined) {}

  async *read(request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogRecord> {
    const readers = request.taskIds.flatMap((taskId) => {
      const source = this.sourceOf(taskId);
      return source ? [new TaskLogReader(taskId, source, request)] : [];
    });
    const done = new AbortController();
    const either = AbortSignal.any([signal, done.signal]);
    try {
      yield* mergeByTime(readers.map((reader) => reader.history(signal)));
      if (request.follow) yield* mergeLive(readers.map((reader) => reader.live(either)));
    } finally {
      done.abort();
      await Promise.all(readers.map((reader) => reader.close()));
    }
  }
}

/** One task's part of a request. */
class TaskLogReader {
  readonly #logDir: string;
  #cursor: LogCursor | undefined;
  #past = false;

  constructor(
    private readonly taskId: string,
    private readonly source: LogSource,
    private readonly request: LogsRequest,
  ) {
    this.#logDir = `${source.dataDir}/log`;
  }

  /** Everything up to now, or the last `tail` lines of it. */
  async *history(signal: AbortSignal): AsyncGenerator<LogRecord> {
    const from = this.request.tail >= 0 ? await this.#findTail(this.request.tail) : undefined;
    this.#cursor = new LogCursor(this.#logDir, from?.segment);
    for (;;) {
      const records = await this.#cursor.read();
      if (records.length === 0) return;
      for (const record of records) {
        signal.throwIfAborted();
        if (from && record.number < from.number) continue;
        // What has come since the lines were counted is one more than was asked for.
        if (from && !this.request.follow && record.number > from.last) return;
        if (this.#wants(record)) yield this.#toWire(record);
        if (this.#past) return;
      }
    }
  }

  /** What is written from then on, until the container has ended. */
  async *live(signal: AbortSignal): AsyncGenerator<LogRecord[]> {
    if (this.#past) return;
    using watch = new DirectoryWatch(this.source.dataDir, 'log', signal);
    void this.source.closed.then(() => watch.wake());
    for (;;) {
      // Read before the reading: what was written until the end is then certainly seen.
      const last = this.source.isClosed;
      const seen = watch.mark();
      const records = await this.#cursor!.read();
      const wanted = records.filter((record) => this.#wants(record)).map((record) => this.#toWire(record));
      if (wanted.length > 0) yield wanted;
      signal.throwIfAborted();
      if (this.#past) return;
      if (records.length > 0) continue;
      if (last) return;
      await watch.changed(seen);
    }
  }

  async close(): Promise<void> {
    await this.#cursor?.close();
  }

  #wants({ stderr, timeNs }: StoredRecord): boolean {
    const { sinceSeconds, sinceNanos, untilSeconds, untilNanos } = this.request;
    if (untilSeconds > 0 && timeNs > nanoseconds(untilSeconds, untilNanos)) {
      this.#past = true;
      return false;
    }
    if (timeNs < nanoseconds(sinceSeconds, sinceNanos)) return false;
    // Neither asked for: both, as the API's defaults have it.
    const { stdout, stderr: err } = this.request;
    return stdout === err || (stderr ? err : stdout);
  }

  /** The segment and record where the last `lines` lines begin that this request wants, and the last one there is. */
  async #findTail(lines: number): Promise<{ segment: number; number: number; last: number }> {
    const segments = await segmentsOf(this.#logDir);
    let missing = lines;
    let first = { segment: segments.at(-1) ?? 0, number: Number.POSITIVE_INFINITY };
    let last: number | undefined;
    for (const segment of segments.reverse()) {
      const wanted = await this.#wantedIn(segment);
      // A line is counted by its last piece; pieces before it belong to it.
      for (const record of wanted.reverse()) {
        last ??= record.number;
        if (!record.partial && missing-- === 0) return { ...first, last };
        first = { segment, number: record.number };
      }
    }
    return { ...first, last: last ?? Number.NEGATIVE_INFINITY };
  }

  async #wantedIn(segment: number): Promise<StoredRecord[]> {
    const cursor = new LogCursor(this.#logDir, segment);
    const found: StoredRecord[] = [];
    const segments = await segmentsOf(this.#logDir);
    const end = segments.find((each) => each > segment) ?? Number.POSITIVE_INFINITY;
    try {
      for (let batch = await cursor.read(); batch.length > 0; batch = await cursor.read()) {
        for (const record of batch) {
          if (record.number >= end) return found;
          if (this.#wants(record)) found.push({ ...record, line: NOTHING });
        }
      }
    } finally {
      await cursor.close();
      this.#past = false;
    }
    return found;
  }

  #toWire({ stderr, partial, timeNs, line, gap }: StoredRecord): LogRecord {
    return {
      taskId: this.taskId,
      stderr,
      seconds: Number(timeNs / 1_000_000_000n),
      nanos: Number(timeNs % 1_000_000_000n),
      line,
      partial,
      gap,
    };
  }
}

const NOTHING = Buffer.alloc(0);
const nanoseconds = (seconds: number, nanos: number): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
