import type { Clock, Logger } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import type { Etcd3, IWatchResponse } from 'etcd3';
import { fromKv, prefixEnd } from './etcd-messages.js';
import type { KvEvent, Watch, WatchHandler } from './kv.js';

const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 1_000;

type Stream = Awaited<ReturnType<Etcd3['watchClient']['watch']>>;

/**
 * One watch over any number of streams. It remembers the next revision it has to deliver, and asks each new
 * stream for that one, so that nothing is skipped whatever the old stream had sent and we had not seen.
 */
export class EtcdWatch implements Watch {
  #nextRevision: number;
  #stream: Stream | undefined;
  #cancelRetry = () => {};
  #retryMs = RETRY_MIN_MS;
  #closed = false;

  constructor(
    private readonly etcd: Etcd3,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly prefix: string,
    fromRevision: number,
    private readonly handler: WatchHandler,
  ) {
    this.#nextRevision = fromRevision;
    void this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry();
    this.#drop();
  }

  restart(): void {
    if (this.#closed) return;
    this.#cancelRetry();
    this.#drop();
    void this.#open();
  }

  async #open(): Promise<void> {
    let stream: Stream;
    try {
      stream = await this.etcd.watchClient.watch();
    } catch (error) {
      this.#openLater(error);
      return;
    }
    if (this.#closed || this.#stream) {
      endStream(stream);
      return;
    }
    this.#stream = stream;
    // A stream that was replaced may still say something.
    const mine = () => this.#stream === stream;
    stream.on('data', (response: IWatchResponse) => mine() && this.#take(response));
    stream.on('error', (error: Error) => mine() && this.#lose(error));
    stream.on('end', () => mine() && this.#lose(new Error('the stream ended')));
    stream.write({
      create_request: {
        key: Buffer.from(this.prefix),
        range_end: prefixEnd(this.prefix),
        start_revision: this.#nextRevision,
      },
    });
  }

  #take(response: IWatchResponse): void {
    if (response.canceled) {
      this.#cancelled(response);
      return;
    }
    this.#retryMs = RETRY_MIN_MS;
    for (const [revision, events] of byRevision(response)) {
      if (revision < this.#nextRevision) continue;
      this.#nextRevision = revision + 1;
      this.handler.onEvents(revision, events);
      if (this.#closed) return;
    }
  }

  #cancelled({ compact_revision, cancel_reason }: IWatchResponse): void {
    // etcd gives no reason when it cancels for a compaction, only the revision.
    if (Number(compact_revision) === 0) {
      this.#lose(new Error(cancel_reason || 'cancelled by etcd'));
      return;
    }
    this.close();
    this.handler.onCompacted();
  }

  #lose(error: Error): void {
    this.#drop();
    this.#openLater(error);
  }

  #openLater(error: unknown): void {
    if (this.#closed) return;
    this.logger.debug({ cause: errorText(error), nextRevision: this.#nextRevision }, 'watch stream lost');
    this.#cancelRetry();
    this.#cancelRetry = this.clock.after(this.#retryMs, () => void this.#open());
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream) endStream(stream);
  }
}

/** Ends a stream at once, whatever the server does. */
export function endStream(stream: {
  on(event: 'error', handler: () => void): unknown;
  end(): unknown;
  cancel(): unknown;
}): void {
  // It fails as cancelled, which is what was asked for; ended first, the client does not take that as a
  // fault of the server, which would cost it its connections.
  stream.on('error', () => {});
  stream.end();
  stream.cancel();
}

/** A response holds whole revisions, in order. */
function byRevision({ events }: IWatchResponse): Map<number, KvEvent[]> {
  const revisions = new Map<number, KvEvent[]>();
  for (const { type, kv } of events) {
    const revision = Number(kv.mod_revision);
    let list = revisions.get(revision);
    if (!list) {
      list = [];
      revisions.set(revision, list);
    }
    list.push(
      type === 'Put' ? { kind: 'put', kv: fromKv(kv) } : { kind: 'delete', key: kv.key.toString(), revision },
    );
  }
  return revisions;
}
