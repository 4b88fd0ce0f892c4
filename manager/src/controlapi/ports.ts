import type { Clock, Logger, Random } from '@tessera/shared/env';
import type { ClientCertificates } from '../ca/index.js';
import type { LogBroker } from '../logbroker/index.js';
import type { Store } from '../store/view.js';
import type { SideStreams } from '../streams/index.js';

/** This host's `tsd`, over its local socket. */
export interface LocalNode {
  /**
   * Takes this node out of the cluster: its tasks end, its identity and state are deleted.
   * @throws ClusterError `unavailable` when it is a manager and `force` is not given
   */
  leave(force: boolean, signal: AbortSignal): Promise<void>;
}

/** What every part of the control API is handed. */
export interface ControlContext {
  readonly store: Store;
  readonly streams: SideStreams;
  readonly logBroker: LogBroker;
  readonly authority: ClientCertificates;
  readonly localNode: LocalNode;
  /** The node this manager runs on. */
  readonly nodeId: string;
  /** HOST:PORT that agents and other managers reach this manager by. */
  readonly managerAddr: string;
  /** The node of the manager that leads, as far as this one knows. */
  readonly leaderId: () => string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
