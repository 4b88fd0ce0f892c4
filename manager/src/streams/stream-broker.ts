import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError, notFound } from '@tessera/shared/errors';
import type { StreamRequest } from '@tessera/shared/wire';
import type { Store } from '../store/view.js';
import { type FrameStream, OpenSideStream } from './open-side-stream.js';
import type { SideStream, SideStreams, StreamKind } from './side-stream.js';
import { SpareStreams } from './spare-streams.js';

/** How long an agent may take to open a stream: it may be busy, but a person waits. */
const OPEN_MAX_MS = 15_000;

/** Reaches an agent's session. */
export interface StreamRequester {
  /** False when the node's session is not with this manager. */
  requestStream(nodeId: string, request: StreamRequest): boolean;
}
/** Reaches another manager. */
export interface ManagerPeers {
  requestStream(managerAddr: string, nodeId: string, request: StreamRequest): Promise<void>;
}

export interface StreamBrokerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly dispatcher: StreamRequester;
  readonly peers: ManagerPeers;
  readonly managerId: string;
  /** Where agents open their streams. */
  readonly managerAddr: string;
}

interface Pending {
  readonly nodeId: string;
  readonly resolve: (stream: FrameStream) => void;
}

/** Brings together who asked for a side stream and the agent that opens it. */
export class StreamBroker implements SideStreams {
  readonly #pending = new Map<string, Pending>();
  readonly #spares = new SpareStreams();

  constructor(private readonly options: StreamBrokerOptions) {}

  async requestStream(nodeId: string, kind: StreamKind, signal: AbortSignal): Promise<SideStream> {
    const { random, managerAddr } = this.options;
    // The id is the proof that a stream was asked for: it is used once and cannot be guessed.
    const streamId = random.bytes(16).toString('hex');
    const opened = this.#expect(streamId, nodeId, signal);
    try {
      // Another manager may never answer; then the wait for the stream ends it.
      await Promise.race([this.#ask(nodeId, { streamId, managerAddr, kind }), opened.stream]);
      return new OpenSideStream(await opened.stream, signal);
    } finally {
      opened.forget();
    }
  }

  /**
   * An agent has dialled with this id in its first frame.
   *
   * @param nodeId the caller's, by its certificate
   * @throws ClusterError `notFound` for an id nobody waits for, or that was meant for another node
   */
  accept(nodeId: string, streamId: string, stream: FrameStream): void {
    const pending = this.#pending.get(streamId);
    if (pending?.nodeId !== nodeId)
      throw new ClusterError('notFound', 'nobody waits for this stream, or no longer');
    this.#pending.delete(streamId);
    pending.resolve(stream);
  }

  /** An agent has opened a stream for whatever is asked of it next. @throws ClusterError when enough of them wait */
  offer(nodeId: string, stream: FrameStream): void {
    this.#spares.offer(nodeId, stream);
  }

  #expect(
    streamId: string,
    nodeId: string,
    signal: AbortSignal,
  ): { readonly stream: Promise<FrameStream>; forget(): void } {
    let forget = () => {};
    const stream = new Promise<FrameStream>((resolve, reject) => {
      const onAbort = () => reject(cancelled(signal));
      const cancel = this.options.clock.after(OPEN_MAX_MS, () =>
        reject(
          new ClusterError(
            'deadlineExceeded',
            `node ${this.#nameOf(nodeId)} did not open the stream within ${OPEN_MAX_MS / 1_000} s`,
          ),
        ),
      );
      signal.addEventListener('abort', onAbort, { once: true });
      forget = () => {
        cancel();
        signal.removeEventListener('abort', onAbort);
        this.#pending.delete(streamId);
      };
      this.#pending.set(streamId, { nodeId, resolve });
      if (signal.aborted) onAbort();
    });
    // Asking may fail first; then nobody is left to hear of this one.
    stream.catch(() => {});
    return { stream, forget };
  }

  async #ask(nodeId: string, request: StreamRequest): Promise<void> {
    const { dispatcher, store, peers, managerId } = this.options;
    const asked = this.#spares.ask(nodeId, request, (id, stream) => this.accept(nodeId, id, stream));
    if (asked) return asked;
    if (dispatcher.requestStream(nodeId, request)) return;
    const view = store.view();
    if (!view.nodes.get(nodeId)) throw notFound('node', nodeId);
    const session = view.sessions.get(nodeId);
    if (!session || session.managerId === managerId)
      throw new ClusterError('unavailable', `node ${this.#nameOf(nodeId)} is not connected`);
    await peers.requestStream(session.managerAddr, nodeId, request);
  }

  #nameOf(nodeId: string): string {
    return this.options.store.view().nodes.get(nodeId)?.name || nodeId;
  }
}

const cancelled = (signal: AbortSignal): ClusterError =>
  signal.reason instanceof ClusterError
    ? signal.reason
    : new ClusterError('cancelled', 'the stream was cancelled');
