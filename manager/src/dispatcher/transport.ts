import type { ClusterError } from '@tessera/shared/errors';
import type { AgentMessage, ManagerMessage } from '@tessera/shared/wire';

/** The way down to one agent: a gRPC stream in production, the simulator's network in tests. */
export interface SessionTransport {
  /** False when it is full: assignments wait until `SessionHandle.drained`. */
  send(message: ManagerMessage): boolean;
  /** Ends the connection. `SessionHandle.closed` need not follow. */
  close(error?: ClusterError): void;
}

/** The way up from one agent, after its Register. */
export interface SessionHandle {
  receive(message: AgentMessage): void;
  drained(): void;
  /** The connection has ended, whoever ended it. */
  closed(): void;
}
