import { Attachment, type LogPosition } from '@tessera/native';
import type { AttachedClient, AttachOrder, OutputPiece } from '../../containers/runtime.js';
import type { Container } from './container.js';
import type { ContainerRecord } from './container-record.js';
import { LogCursor } from './logs/log-cursor.js';

/** An attachment, and where in the log its output begins. */
export interface Connected {
  readonly attachment: Attachment;
  readonly position: LogPosition;
  /** The container's log, to begin with it. */
  readonly logDir?: string | undefined;
}

export interface StreamOptions {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Whether the client's last byte closes stdin. */
  readonly closesInput: boolean;
}

/** A client writes to stdin for itself alone, or leaves it open for others. A terminal's stays open. */
export const streamOptions = (
  record: Pick<ContainerRecord, 'stdin' | 'tty'> | undefined,
  { stdout, stderr }: AttachOrder,
): StreamOptions => ({
  stdout,
  stderr,
  closesInput: record?.stdin === 'once' && !record.tty,
});

/** Attaches to a run whose shim listens. */
export async function connect({ runDir, dataDir }: Container, order: AttachOrder): Promise<Connected> {
  const { stdout, stderr, history, wait = false } = order;
  const connected = await Attachment.open(runDir, 0, { stdout, stderr, wait, line: history });
  return { ...connected, logDir: history ? `${dataDir}/log` : undefined };
}

/** Attaches to a run that has not begun, between its shim's first word and its command. */
export function attachAtStart(
  next: Promise<Container | undefined>,
  order: AttachOrder,
  options: StreamOptions,
): AttachedClient {
  const connected = next.then(
    (run) =>
      run &&
      new Promise<Connected | undefined>((resolve, reject) => {
        run.beforeGo(async (shim) => {
          if (!shim) return resolve(undefined);
          // A failure is for the client to see, not for the container.
          await connect(run, order).then(resolve, reject);
        });
      }),
  );
  return new ProcessStreams(connected, options);
}

/** The streams of a process that is, or will be, attached to. */
export class ProcessStreams implements AttachedClient {
  readonly #closing = new AbortController();

  /** @param connected undefined: the process will never run */
  constructor(
    private readonly connected: Promise<Connected | undefined>,
    private readonly options: StreamOptions,
  ) {
    connected.catch(() => {}); // whoever reads or writes is told
  }

  async write(bytes: Uint8Array): Promise<void> {
    await (await this.connected)?.attachment.write(bytes);
  }

  async endInput(): Promise<void> {
    if (this.options.closesInput) await (await this.connected)?.attachment.closeInput();
  }

  close(): void {
    this.#closing.abort();
    void this.connected.then(
      (connected) => connected?.attachment.close(),
      () => {},
    );
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputPiece> {
    const { signal } = this.#closing;
    const connected = await Promise.race([this.connected, aborted(signal)]);
    if (!connected || signal.aborted) return;
    try {
      if (connected.logDir !== undefined) yield* this.#history(connected.logDir, connected.position);
      yield* connected.attachment;
    } finally {
      connected.attachment.close();
    }
  }

  /** Everything before the attachment's own first byte, lines with their ends. */
  async *#history(logDir: string, { nextRecord }: LogPosition): AsyncGenerator<OutputPiece> {
    const cursor = new LogCursor(logDir);
    try {
      for (let records = await cursor.read(); records.length > 0; records = await cursor.read()) {
        for (const { number, stderr, partial, line } of records) {
          if (number >= nextRecord) return;
          if (!(stderr ? this.options.stderr : this.options.stdout)) continue;
          yield {
            stream: stderr ? 'stderr' : 'stdout',
            bytes: partial ? line : Buffer.concat([line, NEWLINE]),
          };
        }
      }
    } finally {
      await cursor.close();
    }
  }
}

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });

const NEWLINE = Buffer.from('\n');
