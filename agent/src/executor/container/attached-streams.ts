import { Attachment, type AttachOptions, type LogPosition } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { AttachedClient, AttachOrder, OutputPiece } from '../attachment.js';
import type { ContainerRecord } from './container-record.js';
import { LogOutput, type LogPlace } from './logs/log-output.js';

/** A run of a container, as far as its streams concern it. */
export interface StreamedRun {
  readonly runDir: string;
  readonly dataDir: string;
  readonly life: { readonly kind: string };
  /** Settles when it has ended. */
  readonly ended: Promise<unknown>;
  /** Between the shim's first word and the command; without a shim it will not come to that. */
  beforeGo(work: (shim: object | undefined) => Promise<void>): void;
  /** What the shim still holds for an attachment when the run ends is taken. */
  serveAtEnd(attachment: Attachment): void;
}

/** A connection to a run, and where in the log its output begins. */
export interface Connected {
  readonly attachment: Attachment;
  readonly position: LogPosition;
  /** Of an attachment to the container itself. */
  readonly run?: { readonly container: StreamedRun; readonly order: AttachOrder };
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
export async function connect(
  container: StreamedRun,
  order: AttachOrder,
  line = order.history,
): Promise<Connected> {
  const { stdout, stderr, wait = false, patienceMs } = order;
  const options: AttachOptions = { stdout, stderr, wait, line, ...(patienceMs ? { patienceMs } : {}) };
  const connected = await Attachment.open(container.runDir, 0, options);
  container.serveAtEnd(connected.attachment);
  return { ...connected, run: { container, order } };
}

/** Attaches to a run that has not begun, between its shim's first word and its command. */
export function attachAtStart(
  next: Promise<StreamedRun | undefined>,
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
  #input: Promise<Attachment | undefined> | undefined;

  /** @param connected undefined: the process will never run */
  constructor(
    private readonly connected: Promise<Connected | undefined>,
    private readonly options: StreamOptions,
  ) {
    connected.catch(() => {}); // whoever reads or writes is told
  }

  async write(bytes: Uint8Array): Promise<void> {
    await (await this.#stdin())?.write(bytes);
  }

  async endInput(): Promise<void> {
    if (this.options.closesInput) await (await this.#stdin())?.closeInput();
  }

  close(): void {
    this.#closing.abort();
    for (const attachment of [this.connected.then((connected) => connected?.attachment), this.#input])
      void attachment?.then(
        (open) => open?.close(),
        () => {},
      );
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputPiece> {
    const { signal } = this.#closing;
    let connected = await Promise.race([this.connected, aborted(signal)]);
    let log = connected?.run?.order.history ? logOf(connected.run) : undefined;
    try {
      while (connected && !signal.aborted) {
        if (log) yield* this.#wanted(log.read(Number(connected.position.nextRecord)));
        yield* live(connected.attachment, log);
        const { run, attachment }: Connected = connected;
        if (!run || !attachment.rest || signal.aborted) return;
        await log?.close();
        log = logOf(run, attachment.rest);
        // Before it attaches anew: what is attached fills up while the log is read.
        yield* this.#wanted(log.read());
        connected = await reconnect(run);
        if (!connected) yield* this.#wanted(log.read());
      }
    } finally {
      connected?.attachment.close();
      await log?.close();
    }
  }

  async *#wanted(pieces: AsyncGenerator<OutputPiece>): AsyncGenerator<OutputPiece> {
    for await (const piece of pieces) {
      if (this.#closing.signal.aborted) return;
      if (this.options[piece.stream]) yield piece;
    }
  }

  /** Of a container: a connection of its own, which stays when one is detached that is slow to read. */
  #stdin(): Promise<Attachment | undefined> {
    this.#input ??= this.connected.then(async (connected) => {
      if (!connected?.run) return connected?.attachment;
      const { attachment } = await Attachment.open(connected.run.container.runDir, 0, {});
      if (this.#closing.signal.aborted) attachment.close();
      return attachment;
    });
    return this.#input;
  }
}

const logOf = ({ container }: NonNullable<Connected['run']>, from?: LogPlace): LogOutput =>
  new LogOutput(`${container.dataDir}/log`, from);

async function* live(attachment: Attachment, log: LogOutput | undefined): AsyncGenerator<OutputPiece> {
  for await (const piece of attachment)
    if (log) yield* log.fresh(piece);
    else yield piece;
}

/** Attaches again, in the middle of a line too. Undefined: it has ended, and its log is complete. */
async function reconnect({
  container,
  order,
}: NonNullable<Connected['run']>): Promise<Connected | undefined> {
  try {
    if (container.life.kind === 'running') return await connect(container, order, true);
  } catch (error) {
    // Else its shim has just gone, and the word of it is on its way.
    if (error instanceof ClusterError && error.kind === 'resourceExhausted') throw error;
  }
  await container.ended;
  return undefined;
}

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
