import type { Frame, StreamRequest } from '@tessera/shared/wire';

/** What a side stream is for: logs, imageLoad, imageRemove or imageSave, with its parameters. */
export type StreamKind = NonNullable<StreamRequest['kind']>;

/** The manager's end of a side stream with one agent. Whoever asked for it closes it. */
export interface SideStream {
  /** Whether the agent is of this host, and can be lent a client's connection. */
  readonly isLocal: boolean;
  /**
   * What the agent sends, without its `open` frame, until its `end`. A `StreamError` frame is thrown as the
   * `ClusterError` it names, a stream that ends in another way as `unavailable`, one closed on this side as
   * the error it was closed with, or `cancelled`. To be read once. The agent is slowed while nobody reads.
   */
  readonly frames: AsyncIterable<Frame>;
  /**
   * Resolves once the stream takes more; a slow agent slows the writer.
   * @throws ClusterError `unavailable` when the stream has ended
   */
  write(frame: Frame): Promise<void>;
  /** Says that nothing more will be written. Frames may still arrive. */
  end(): Promise<void>;
  /** Ends both ways at once; with an error, the agent is told. May be repeated. */
  close(error?: unknown): void;
}

/** Asks agents for side streams, whichever manager holds their sessions. */
export interface SideStreams {
  /**
   * A stream with the agent of `nodeId`, opened by it on this manager.
   *
   * @param signal ends the wait, and afterwards the stream itself
   * @throws ClusterError `notFound` when there is no such node, `unavailable` when it has no session,
   *   `deadlineExceeded` when it did not open the stream in time, or what the agent answered
   */
  requestStream(nodeId: string, kind: StreamKind, signal: AbortSignal): Promise<SideStream>;
}
