import type { Clock, Logger, Random } from '@tessera/shared/env';
import type { Image } from '@tessera/shared/model';
import type { LogRecord, LogsRequest } from '@tessera/shared/wire';
import type { Store } from '../store/view.js';

/** Asks an agent for a side stream, whichever manager has the node's session. */
export interface AgentStreams {
  /**
   * Log records of tasks on one node: history, then live ones if asked. Leaving the loop ends the stream.
   * @throws ClusterError `unavailable` when the node has no session or is lost on the way
   */
  logs(nodeId: string, request: LogsRequest, signal: AbortSignal): AsyncIterable<LogRecord>;
  /**
   * Sends an archive to one node's image store; resolves with what the node now holds whole.
   * Reads the archive no faster than the node takes it.
   */
  loadImages(
    nodeId: string,
    archive: AsyncIterable<Uint8Array>,
    progress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<readonly Image[]>;
  /** Removes an image's content from one node, unless a task there uses it. */
  removeImage(nodeId: string, imageId: string, signal: AbortSignal): Promise<void>;
}

/** What the API needs of the cluster's certificate authority. */
export interface Authority {
  /** A fresh join token's text, carrying the CA's fingerprint; the caller writes it to the cluster object. */
  newJoinToken(): string;
  /**
   * A certificate for an API client (OU `tessera-client`, client usage only), PEM.
   * @param csrPem PKCS#10; its subject is ignored
   */
  issueClientCertificate(csrPem: string, name: string): Promise<string>;
}

/** This host's `tsd`, over its local socket. */
export interface LocalNode {
  /** Takes this node out of the cluster: its tasks end, its identity and state are deleted. */
  leave(force: boolean, signal: AbortSignal): Promise<void>;
}

/** What every part of the control API is handed. */
export interface ControlContext {
  readonly store: Store;
  readonly streams: AgentStreams;
  readonly authority: Authority;
  readonly localNode: LocalNode;
  /** The node this manager runs on. */
  readonly nodeId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
