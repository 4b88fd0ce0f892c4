import type { OutputPiece } from '../../../containers/runtime.js';
import { DirectoryWatch } from './directory-watch.js';
import { LogCursor, type StoredRecord, segmentsOf } from './log-cursor.js';
import type { LogSource } from './segment-task-logs.js';

const NEWLINE = Buffer.from('\n');

/** A container's output as its log has it, from one place on to the end of a run. */
export class LogFollower {
  readonly #closing = new AbortController();

  private constructor(
    private readonly dataDir: string,
    private readonly cursor: LogCursor,
    private readonly early: readonly StoredRecord[],
    private readonly order: { readonly stdout: boolean; readonly stderr: boolean },
  ) {}

  /** Begins where the log ends now or, with history, at its beginning. */
  static async open(
    dataDir: string,
    order: { readonly stdout: boolean; readonly stderr: boolean; readonly history: boolean },
  ): Promise<LogFollower> {
    const logDir = `${dataDir}/log`;
    const last = order.history ? undefined : (await segmentsOf(logDir)).at(-1);
    const cursor = new LogCursor(logDir, last);
    const early: StoredRecord[] = [];
    for (let records = await cursor.read(); records.length > 0; records = await cursor.read())
      if (order.history) early.push(...records);
    return new LogFollower(dataDir, cursor, early, order);
  }

  /** @param run the run that is under way, or the next one */
  async *read(run: Promise<LogSource>): AsyncGenerator<OutputPiece> {
    const { signal } = this.#closing;
    try {
      yield* this.early.flatMap((record) => this.#pieces(record));
      const source = await Promise.race([run, aborted(signal)]);
      if (!source) return;
      using watch = new DirectoryWatch(this.dataDir, 'log', signal);
      void source.closed.then(() => watch.wake());
      while (!signal.aborted) {
        // Read before the reading: what was written until the end is then certainly seen.
        const last = source.isClosed;
        const seen = watch.mark();
        const records = await this.cursor.read();
        yield* records.flatMap((record) => this.#pieces(record));
        if (records.length > 0) continue;
        if (last) return;
        await watch.changed(seen);
      }
    } finally {
      await this.cursor.close();
    }
  }

  close(): void {
    this.#closing.abort();
  }

  #pieces({ stderr, partial, line }: StoredRecord): OutputPiece[] {
    if (!(stderr ? this.order.stderr : this.order.stdout)) return [];
    return [{ stream: stderr ? 'stderr' : 'stdout', bytes: partial ? line : Buffer.concat([line, NEWLINE]) }];
  }
}

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
