import { ClusterError, invalid } from '@tessera/shared/errors';
import { formatJoinToken, newJoinSecret } from '@tessera/shared/join-token';
import { type Cluster, ClusterSpec, type ClusterSpec_ApiSocket } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import type { ControlContext } from './ports.js';
import { outOfSequence } from './service-validation.js';

/** What a user may change of the cluster as a whole. Undefined: as it is. */
export interface ClusterChange {
  readonly taskHistoryLimit: number | undefined;
  readonly heartbeatPeriodMs: number | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly rotateWorkerToken: boolean;
  readonly rotateManagerToken: boolean;
}

/** What may be asked of the cluster as a whole. */
export class Swarm {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async inspect(): Promise<{ readonly view: View; readonly cluster: Cluster }> {
    const view = await this.#context.store.read();
    return { view, cluster: clusterOf(view) };
  }

  /** @param index the `meta.index` the change was made from */
  async update(index: number, change: ClusterChange): Promise<void> {
    const { store, random } = this.#context;
    if (change.heartbeatPeriodMs !== undefined && change.heartbeatPeriodMs < 100) {
      throw invalid('Dispatcher.HeartbeatPeriod: must be at least 100 ms');
    }
    await store.read();
    await store.update((tx) => {
      const cluster = clusterOf(tx);
      if (cluster.meta?.index !== index) throw outOfSequence();

      const spec = cluster.spec ?? ClusterSpec.create();
      const fresh = () => formatJoinToken(cluster.caCertPem, newJoinSecret(random));
      tx.put('cluster', {
        ...cluster,
        joinTokens: {
          worker: change.rotateWorkerToken ? fresh() : (cluster.joinTokens?.worker ?? ''),
          manager: change.rotateManagerToken ? fresh() : (cluster.joinTokens?.manager ?? ''),
        },
        spec: {
          ...spec,
          taskHistoryLimit: change.taskHistoryLimit ?? spec.taskHistoryLimit,
          heartbeatPeriodMs: change.heartbeatPeriodMs ?? spec.heartbeatPeriodMs,
          labels: { ...(change.labels ?? spec.labels) },
        },
      });
    });
  }

  /** Which nodes' containers may mount the API's socket. */
  async allowApiSocket(apiSocket: ClusterSpec_ApiSocket): Promise<void> {
    const { store } = this.#context;
    await store.read();
    await store.update((tx) => {
      const cluster = clusterOf(tx);
      tx.put('cluster', { ...cluster, spec: { ...(cluster.spec ?? ClusterSpec.create()), apiSocket } });
    });
  }

  /** Takes this manager's node out of the cluster. */
  async leave(force: boolean, signal: AbortSignal): Promise<void> {
    if (!force) {
      throw new ClusterError(
        'unavailable',
        'You are attempting to leave the cluster on a node that is participating as a manager. Removing the last manager erases all current state of the cluster. Use `--force` to ignore this message.',
      );
    }
    await this.#context.localNode.leave(force, signal);
  }
}

function clusterOf(view: View): Cluster {
  if (view.cluster) return view.cluster;
  throw new ClusterError('unavailable', 'this manager has no cluster yet');
}
