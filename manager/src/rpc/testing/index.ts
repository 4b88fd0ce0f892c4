import type { Socket } from 'node:net';
import { credentials as grpcCredentials } from '@grpc/grpc-js';
import { type Clock, type Logger, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { dialFrames, type FrameSocket } from '@tessera/shared/frames';
import { signImageToken } from '@tessera/shared/image-token';
import { Cluster, ClusterSpec, Node, type Node_Role } from '@tessera/shared/model';
import {
  Admission,
  CertificateAuthority,
  createAuthority,
  newJoinTokens,
  Signer,
  SigningRequest,
  signNode,
  UNITS,
} from '../../ca/index.js';
import { aNodeKey, type TestNodeKey } from '../../ca/testing/index.js';
import { Dispatcher, ImageLocator, managerAddrs } from '../../dispatcher/index.js';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';
import { StreamBroker } from '../../streams/index.js';
import {
  ManagerPeersCaller,
  RpcServer,
  serveCertificateAuthority,
  serveDispatcher,
  serveManagerPeers,
  serveSideStreams,
  type TlsIdentity,
} from '../index.js';

/** A manager's gRPC side over real TLS on loopback, its store in memory. */
export interface TestManager {
  readonly store: MemoryStore;
  readonly addr: string;
  readonly identity: TlsIdentity;
  readonly nodeId: string;
  readonly dispatcher: Dispatcher;
  readonly streams: StreamBroker;
  readonly authority: CertificateAuthority;
  /** Makes a node of the cluster, with its certificate. */
  addNode(
    role: Node_Role,
    name?: string,
  ): Promise<{ readonly nodeId: string; readonly identity: TlsIdentity }>;
  close(): void;
}

export interface TestManagerOptions {
  readonly beside?: TestManager;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

export async function aManager(options: TestManagerOptions = {}): Promise<TestManager> {
  const { beside, clock = systemClock, logger = silentLogger } = options;
  const random = systemRandom;
  const managerId = beside ? 'beside' : 'first';
  const store = await openMemoryStore(clock, { managerId, ...(beside && { beside: beside.store }) });
  if (!beside) await makeCluster(store, clock);
  const addNode: TestManager['addNode'] = async (role, name = role) => {
    const key = await aNodeKey();
    return { ...(await certify(store, clock, key, role, name)) };
  };
  const { nodeId, identity } = await addNode('manager', managerId);

  const server = new RpcServer({ store, identity, clock, logger });
  const port = await server.listen('127.0.0.1:0');
  const addr = `127.0.0.1:${port}`;
  const common = { store, clock, random, logger, managerId: nodeId, managerAddr: addr };
  const dispatcher = new Dispatcher({ ...common, halted: () => false });
  const peers = new ManagerPeersCaller(() => identity);
  const streams = new StreamBroker({ ...common, dispatcher, peers });
  const locator = new ImageLocator({
    store,
    clock,
    sign: (payload) => signImageToken(payload, identity.keyPem, identity.certPem),
  });
  serveDispatcher(server, dispatcher, locator, logger);
  serveSideStreams(server, streams, clock, logger);
  serveManagerPeers(server, dispatcher);
  serveCertificateAuthority(
    server,
    new Admission(store, clock, random, {
      managerAddrs: (view) => managerAddrs(view, addr),
      managerBootstrap: () => undefined,
    }),
  );
  return {
    store,
    addr,
    identity,
    nodeId,
    dispatcher,
    streams,
    authority: new CertificateAuthority(store, clock, random),
    addNode,
    close() {
      dispatcher.stop();
      server.close();
      peers.close();
      store.close();
    },
  };
}

async function makeCluster(store: MemoryStore, clock: Clock): Promise<void> {
  const keys = await createAuthority('cluster-1', clock, systemRandom);
  const spec = ClusterSpec.create({ heartbeatPeriodMs: 1_000, heartbeatGracePeriods: 3 });
  const joinTokens = newJoinTokens(keys.caCertPem, systemRandom);
  await store.update((tx) =>
    tx.put('cluster', Cluster.create({ id: 'cluster-1', incarnation: 1, ...keys, joinTokens, spec })),
  );
}

async function certify(store: MemoryStore, clock: Clock, key: TestNodeKey, role: Node_Role, name: string) {
  const cluster = store.view().cluster!;
  const signer = await Signer.open(cluster, cluster.id, clock, systemRandom);
  const nodeId = `node-${name}-${systemRandom.bytes(4).toString('hex')}`;
  const certPem = await signNode(signer, await SigningRequest.parse(key.csrPem), nodeId, role);
  await store.update((tx) => tx.put('nodes', Node.create({ id: nodeId, name, role })));
  return { nodeId, identity: { keyPem: key.keyPem, certPem, caCertPem: cluster.caCertPem } };
}

/** A client's TLS: with the node's certificate, or without any. */
export const channelCredentials = (identity: TlsIdentity | { readonly caCertPem: string }) =>
  'keyPem' in identity
    ? grpcCredentials.createSsl(
        Buffer.from(identity.caCertPem),
        Buffer.from(identity.keyPem),
        Buffer.from(identity.certPem),
      )
    : grpcCredentials.createSsl(Buffer.from(identity.caCertPem));

/** Checks the manager by its role, as agents do, whatever address they dial. */
export const CHANNEL_OPTIONS = {
  'grpc.ssl_target_name_override': 'tessera-manager',
  'grpc.use_local_subchannel_pool': 1,
} as const;

/** A stream of frames with a manager, as this identity. */
export function openFrames(
  addr: string,
  identity: TlsIdentity | { readonly caCertPem: string },
  onFree: (socket: Socket) => void = (socket) => socket.destroy(),
): Promise<FrameSocket> {
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(addr) ?? [];
  return dialFrames(
    { host, port: Number(port), serverName: UNITS.manager, identity, clock: systemClock, onFree },
    new AbortController().signal,
  );
}
