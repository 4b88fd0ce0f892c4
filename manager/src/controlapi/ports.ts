import type { Clock, Logger, Random } from '@tessera/shared/env';
import type { ContainerState } from '@tessera/shared/model';
import type { ClientCertificates } from '../ca/index.js';
import type { LogBroker } from '../logbroker/index.js';
import type { LeaderDecisions } from '../loops/decisions.js';
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

/** What agents whose sessions are with this manager say, as it comes. */
export interface AgentReports {
  /** @returns what ends it */
  onReport(containerId: string, handler: (state: ContainerState) => void): () => void;
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
  readonly reports?: AgentReports;
  /** While this manager leads. */
  readonly decisions?: () => LeaderDecisions | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
