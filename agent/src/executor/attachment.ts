// How a client holds on to the standard streams of what runs.

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** What a process wrote, in pieces as they came. Of a terminal all of it is stdout. */
export interface OutputPiece {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

export interface AttachOrder {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Begin with all that is in the log; nothing is lost or doubled where what comes live goes on. */
  readonly history: boolean;
  /**
   * The container waits for this reader, as a program does for the reader of its pipe. Without it the container never
   * waits, and a reader that is too slow is given the rest from the log.
   */
  readonly wait?: boolean;
  /** With `wait`: the container goes on without a reader that has taken nothing at all for so long. */
  readonly patienceMs?: number;
}

/**
 * A client's hold on the standard streams of a container or an exec. Iterated over once; that ends with the run it is
 * attached to, and throws ClusterError `resourceExhausted` when the reader was so slow that the log has lost what was to
 * come next, `unavailable` when the shim was lost.
 */
export interface AttachedClient extends AsyncIterable<OutputPiece> {
  /** Resolves when more may be written. @throws ClusterError when the container's stdin is closed */
  write(bytes: Uint8Array): Promise<void>;
  /** The client has no more to write: closes stdin, unless it is kept open for others. */
  endInput(): Promise<void>;
  /** Lets go. The container goes on, its stdin stays open. */
  close(): void;
}
