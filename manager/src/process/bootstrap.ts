import { type Clock, type Logger, newId, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Cluster, ClusterSpec, Node } from '@tessera/shared/model';
import {
  type AuthorityKeys,
  createAuthority,
  newJoinTokens,
  nodeIdOf,
  Signer,
  SigningRequest,
  signNode,
} from '../ca/index.js';
import type { InitConfig } from '../config.js';
import type { Store, Transaction } from '../store/index.js';
import type { NodeFiles } from './node-files.js';

/** A killed host is noticed within three heartbeats, and two may be lost. */
const HEARTBEAT_GRACE_PERIODS = 3;

export interface BootstrapOptions {
  readonly store: Store;
  readonly files: NodeFiles;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly init: InitConfig;
  readonly hostname: string;
  readonly advertiseAddr: string;
}

/**
 * Makes the cluster if the store has none, and this node's identity if it has none. Each step looks at what
 * is there, so a crash at any line is mended by running it again.
 *
 * @throws ClusterError `failedPrecondition` when this node belongs to another cluster
 */
export async function bootstrap(options: BootstrapOptions): Promise<void> {
  const { store, files, init } = options;
  const known = files.identity();
  const { cluster: existing } = await store.read();
  if (known && existing && known.clusterId !== existing.id)
    throw new ClusterError(
      'failedPrecondition',
      `this node is part of cluster ${known.clusterId}, and etcd holds cluster ${existing.id}: leave first`,
    );
  if (known && !existing)
    throw new ClusterError(
      'failedPrecondition',
      `this node is part of cluster ${known.clusterId}, of which etcd holds nothing: restore its data, or leave first`,
    );
  const cluster = existing ?? (await makeCluster(options));
  if (!known) await makeIdentity(options, cluster);
  if (init.forceNewCluster && existing) await startAnew(options, files.identity()!.nodeId);
}

async function makeCluster({ store, clock, random, logger, init }: BootstrapOptions): Promise<Cluster> {
  const id = newId(random);
  const keys = await createAuthority(id, clock, random);
  // Another manager on the same etcd may have been faster; then its cluster is the one.
  const cluster = await store.update(
    (tx) => tx.cluster ?? putCluster(tx, newCluster(id, keys, init, random)),
  );
  if (cluster.id === id) logger.info({ 'cluster.id': id }, 'made a new cluster');
  return cluster;
}

function putCluster(tx: Transaction, cluster: Cluster): Cluster {
  tx.put('cluster', cluster);
  return cluster;
}

const newCluster = (id: string, keys: AuthorityKeys, init: InitConfig, random: Random): Cluster =>
  Cluster.create({
    id,
    incarnation: 1,
    ...keys,
    joinTokens: newJoinTokens(keys.caCertPem, random),
    spec: ClusterSpec.create({
      defaultAddrPools: [...init.defaultAddrPools],
      subnetSize: init.subnetSize,
      dataPathPort: init.dataPathPort,
      taskHistoryLimit: init.taskHistoryLimit,
      heartbeatPeriodMs: init.heartbeatPeriodMs,
      heartbeatGracePeriods: HEARTBEAT_GRACE_PERIODS,
    }),
  });

async function makeIdentity(options: BootstrapOptions, cluster: Cluster): Promise<void> {
  const { store, files, clock, random, hostname, advertiseAddr, init } = options;
  const request = await SigningRequest.parse(files.signingRequest());
  const nodeId = await nodeIdOf(request);
  const signer = await Signer.open(cluster, cluster.id, clock, random);
  const certPem = await signNode(signer, request, nodeId, 'manager');
  await store.update((tx) => {
    if (tx.nodes.get(nodeId)) return;
    const { availability } = init;
    tx.put('nodes', Node.create({ id: nodeId, name: hostname, role: 'manager', availability }));
  });
  files.writeIdentity({
    nodeId,
    clusterId: cluster.id,
    managerAddrs: [advertiseAddr],
    incarnation: cluster.incarnation,
    certPem,
    caCertPem: cluster.caCertPem,
  });
}

/** This node is the cluster's only manager from here on; agents turn away any manager of the life before. */
async function startAnew({ store, logger }: BootstrapOptions, nodeId: string): Promise<void> {
  const incarnation = await store.update((tx) => {
    const cluster = tx.cluster!;
    tx.put('cluster', { ...cluster, incarnation: cluster.incarnation + 1 });
    for (const { id, role } of [...tx.nodes.all()]) {
      if (role !== 'manager' || id === nodeId) continue;
      for (const kind of ['nodes', 'nodeStatuses', 'sessions'] as const) tx.delete(kind, id);
    }
    return cluster.incarnation + 1;
  });
  logger.warn({ incarnation }, 'the cluster begins a new life with this manager alone');
}
