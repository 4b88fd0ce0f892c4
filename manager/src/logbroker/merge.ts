import type { LogRecord } from '@tessera/shared/wire';

/** Batches of one node's records, in the order of each task. */
export type RecordSource = AsyncIterator<readonly LogRecord[]>;

interface Source {
  readonly records: RecordSource;
  waiting: readonly LogRecord[];
  at: number;
  pending: boolean;
}

/**
 * Reads several sources as one, the earliest record first. Each is asked for its next batch only when its last
 * one has been taken, so a slow reader slows them all.
 *
 * With `patient`, a record waits until every source has shown its next one, so that what comes out is in
 * order of time; without, whatever is here goes out.
 */
export class RecordMerge {
  readonly #sources = new Set<Source>();
  #resolve = () => {};
  /** Something has happened since `next` last looked around. */
  #isStirred = true;

  constructor(private readonly patient: boolean) {}

  add(records: RecordSource): void {
    this.#sources.add({ records, waiting: [], at: 0, pending: false });
    this.nudge();
  }

  get size(): number {
    return this.#sources.size;
  }

  /** The next record, or undefined when a source has come or ended, or `nudge` was called: look around, call again. */
  async next(): Promise<LogRecord | undefined> {
    for (const source of this.#sources) this.#pull(source);
    const shown = [...this.#sources].filter(({ waiting, at }) => at < waiting.length);
    if (shown.length > 0 && (!this.patient || shown.length === this.#sources.size)) {
      const earliest = shown.reduce((a, b) => (compareTimes(headOf(b), headOf(a)) < 0 ? b : a));
      const record = headOf(earliest);
      earliest.at++;
      return record;
    }
    if (!this.#isStirred)
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    this.#isStirred = false;
    return undefined;
  }

  /** Ends the wait of `next`, this one or the one to come. */
  nudge(): void {
    this.#isStirred = true;
    this.#resolve();
  }

  /** Lets every source go. */
  async close(): Promise<void> {
    const sources = [...this.#sources];
    this.#sources.clear();
    await Promise.all(sources.map(({ records }) => records.return?.().catch(() => {})));
  }

  #pull(source: Source): void {
    if (source.pending || source.at < source.waiting.length) return;
    source.pending = true;
    source.records.next().then(
      ({ done, value }) => {
        source.pending = false;
        source.at = 0;
        source.waiting = done ? [] : value;
        if (done) this.#sources.delete(source);
        this.nudge();
      },
      () => {
        // Sources tell of their failures themselves.
        this.#sources.delete(source);
        this.nudge();
      },
    );
  }
}

const headOf = ({ waiting, at }: Source): LogRecord => waiting[at]!;

/** @returns negative when `a` is the earlier one */
export const compareTimes = (a: LogRecord, b: LogRecord): number =>
  a.seconds - b.seconds || a.nanos - b.nanos;
