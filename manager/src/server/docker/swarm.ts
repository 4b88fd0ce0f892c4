import type { SwarmJson } from '@tessera/shared/docker-api';
import { ClusterError } from '@tessera/shared/errors';
import type { Cluster } from '@tessera/shared/model';
import type { Swarm } from '../../controlapi/index.js';
import { empty, json, type Route, route } from '../route.js';
import {
  count,
  duration,
  isTrue,
  msFromNs,
  nsFromMs,
  parseBody,
  parseVersion,
  sortedMap,
  strictObject,
  text,
  textMap,
} from './json-edge.js';
import { objectJson } from './object-json.js';

/** Values that `swarmToDocker` shows of what is not configurable: a client that reads and writes back sends them again. */
const RAFT = {
  SnapshotInterval: 10_000,
  KeepOldSnapshots: 0,
  LogEntriesForSlowFollowers: 500,
  ElectionTick: 10,
  HeartbeatTick: 1,
};
const NODE_CERT_EXPIRY_NS = 90 * 24 * 3600 * 1e9;

const swarmSpec = strictObject({
  Name: text,
  Labels: textMap,
  Orchestration: strictObject({ TaskHistoryRetentionLimit: count }).nullish(),
  Dispatcher: strictObject({ HeartbeatPeriod: duration }).nullish(),
  Raft: strictObject(Object.fromEntries(Object.keys(RAFT).map((key) => [key, count]))).nullish(),
  CAConfig: strictObject(
    { NodeCertExpiry: duration },
    {
      ExternalCAs: 'external CAs are not supported; leave them out',
      SigningCACert: 'rotation of the CA is not supported yet; leave it out',
      SigningCAKey: 'rotation of the CA is not supported yet; leave it out',
      ForceRotate: 'rotation of the CA is not supported yet; leave it out',
    },
  ).nullish(),
  TaskDefaults: strictObject(
    {},
    { LogDriver: 'a default log driver is not supported yet; name it per service' },
  ).nullish(),
  EncryptionConfig: strictObject(
    {},
    { AutoLockManagers: 'locking of managers is not supported yet; leave --autolock out' },
  ).nullish(),
});

const ALREADY =
  'This node is already part of a cluster. Use "tsctl cluster leave" to leave this cluster and join another one.';

/** `/swarm`, Docker Engine API v1.24 and later. Init and join are served by `tsd` where no manager runs. */
export function swarmRoutes(swarm: Swarm): Route[] {
  return [
    route('GET', '/swarm', async () => json(200, swarmToDocker((await swarm.inspect()).cluster))),

    route('POST', '/swarm/init', () => {
      throw new ClusterError('unavailable', ALREADY);
    }),

    route('POST', '/swarm/join', () => {
      throw new ClusterError('unavailable', ALREADY);
    }),

    route('POST', '/swarm/leave', async ({ query, signal }) => {
      await swarm.leave(isTrue(query.get('force')), signal);
      return empty();
    }),

    route('POST', '/swarm/update', async ({ query, body }) => {
      const index = parseVersion(query.get('version'));
      if (isTrue(query.get('rotateManagerUnlockKey'))) throw notLocked();
      const spec = parseSpec(body);
      refuseFixed(spec);
      const period = spec.Dispatcher?.HeartbeatPeriod;
      await swarm.update(index, {
        taskHistoryLimit: spec.Orchestration?.TaskHistoryRetentionLimit ?? undefined,
        heartbeatPeriodMs: period ? msFromNs(period) : undefined,
        labels: spec.Labels ? sortedMap(spec.Labels) : undefined,
        rotateWorkerToken: isTrue(query.get('rotateWorkerToken')),
        rotateManagerToken: isTrue(query.get('rotateManagerToken')),
      });
      return empty();
    }),

    route('GET', '/swarm/unlockkey', () => json(200, { UnlockKey: '' })),

    route('POST', '/swarm/unlock', () => {
      throw notLocked();
    }),
  ];
}

const notLocked = () => new ClusterError('conflict', 'cluster is not locked');

function refuseFixed(spec: ReturnType<typeof parseSpec>): void {
  for (const [key, value] of Object.entries(spec.Raft ?? {})) {
    if (value && value !== RAFT[key as keyof typeof RAFT]) {
      throw new ClusterError(
        'invalidArgument',
        `Raft.${key}: etcd keeps the state, so there is nothing to set`,
      );
    }
  }
  const expiry = spec.CAConfig?.NodeCertExpiry;
  if (expiry && expiry !== NODE_CERT_EXPIRY_NS) {
    throw new ClusterError('invalidArgument', 'CAConfig.NodeCertExpiry: cannot be changed yet; leave it out');
  }
}
const parseSpec = (body: unknown) => parseBody('swarm spec', swarmSpec, body);

export function swarmToDocker(cluster: Cluster): SwarmJson & { readonly TLSInfo: object } {
  const { spec } = cluster;
  const full = {
    Name: 'default',
    Labels: spec?.labels ?? {},
    Orchestration: { TaskHistoryRetentionLimit: spec?.taskHistoryLimit ?? 0 },
    Raft: RAFT,
    Dispatcher: { HeartbeatPeriod: nsFromMs(spec?.heartbeatPeriodMs ?? 0) },
    CAConfig: { NodeCertExpiry: NODE_CERT_EXPIRY_NS },
    TaskDefaults: {},
    EncryptionConfig: { AutoLockManagers: false },
  };
  return {
    ...objectJson(cluster),
    Spec: full,
    TLSInfo: { TrustRoot: cluster.caCertPem },
    RootRotationInProgress: false,
    DefaultAddrPool: spec?.defaultAddrPools ?? [],
    SubnetSize: spec?.subnetSize ?? 0,
    DataPathPort: spec?.dataPathPort ?? 0,
    JoinTokens: {
      Worker: cluster.joinTokens?.worker ?? '',
      Manager: cluster.joinTokens?.manager ?? '',
    },
  };
}
