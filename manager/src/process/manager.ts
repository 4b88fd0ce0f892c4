import { dirname, join } from 'node:path';
import { type Clock, delay, type Logger, type Random } from '@tessera/shared/env';
import { ClusterError, isTemporary } from '@tessera/shared/errors';
import { LOCAL_STREAMS_SOCKET } from '@tessera/shared/frames';
import { signImageToken } from '@tessera/shared/image-token';
import { Admission, CertificateAuthority } from '../ca/index.js';
import type { Config } from '../config.js';
import { Dispatcher, ImageLocator, managerAddrs, NodeMonitor } from '../dispatcher/index.js';
import { EtcdSupervisor, readEtcdTls } from '../etcd/index.js';
import { Leader, type Term } from '../leader.js';
import { ServiceLogBroker } from '../logbroker/index.js';
import { type LeaderDecisions, startLoops } from '../loops/index.js';
import {
  LocalStreamServer,
  ManagerPeersCaller,
  RpcServer,
  serveCertificateAuthority,
  serveDispatcher,
  serveManagerPeers,
  serveSideStreams,
} from '../rpc/index.js';
import { createApiServer, localNode } from '../server/index.js';
import { type ClusterStore, createStore, Election, type Kv, LeaseKeeper } from '../store/index.js';
import { EtcdKv } from '../store/kv/etcd-kv.js';
import { StreamBroker } from '../streams/index.js';
import { serveApi } from './api-listeners.js';
import { bootstrap } from './bootstrap.js';
import { endFormerLife } from './former-life.js';
import { IdentityWatch } from './identity-watch.js';
import { NodeFiles, type NodeIdentity } from './node-files.js';
import { Teardown } from './teardown.js';

/** Sessions of a manager that was killed end after this; its agents have dialled anew by then. */
const SESSION_LEASE_MS = 5_000;
/** An external etcd may come up after its managers. */
const STORE_WITHIN_MS = 120_000;
const STORE_RETRY_MS = 500;

export interface Environment {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Runs a manager until `signal` is aborted, and leaves nothing behind but its etcd, which lives on.
 *
 * @throws ClusterError when it cannot start
 */
export async function runManager(config: Config, env: Environment, signal: AbortSignal): Promise<void> {
  await using teardown = new Teardown(env.logger);
  const kv = await openKv(config, env, teardown);
  const lease = new LeaseKeeper(kv, env, SESSION_LEASE_MS);
  teardown.add('session lease', () => lease.close());
  await persist(() => lease.start(), env, signal);
  const files = new NodeFiles(config.nodeDir);
  // The store's own keys are named after the node, which has no id before it has a cluster.
  const storeName = files.identity()?.nodeId ?? config.advertiseAddr;
  const store = await persist(
    () => createStore(kv, { ...env, managerId: storeName, lease: () => lease.id }),
    env,
    signal,
  );
  teardown.add('store', () => store.close());

  if (config.init)
    await bootstrap({
      ...env,
      store,
      files,
      init: config.init,
      hostname: config.hostname,
      advertiseAddr: config.advertiseAddr,
    });
  const identity = requireIdentity(files, store, config);
  await serve({ config, env, kv, lease, store, files, identity, teardown, signal });
}

interface Parts {
  readonly config: Config;
  readonly env: Environment;
  readonly kv: Kv;
  readonly lease: LeaseKeeper;
  readonly store: ClusterStore;
  readonly files: NodeFiles;
  readonly identity: NodeIdentity;
  readonly teardown: Teardown;
  readonly signal: AbortSignal;
}

async function serve(parts: Parts): Promise<void> {
  const { config, env, lease, store, files, identity, teardown, signal } = parts;
  const { clock, random } = env;
  const logger = env.logger.child({ 'manager.id': identity.nodeId });
  const common = { store, clock, random, managerId: identity.nodeId, managerAddr: config.advertiseAddr };
  const leading: Leading = { decisions: undefined };
  const decisions = () => leading.decisions;
  // Nobody's silence counts while this manager may itself be the one that is cut off.
  const halted = () => !lease.isSure();

  const tls = new IdentityWatch(files, clock, logger, (renewed) => server.replaceIdentity(renewed));
  teardown.add('certificate', () => tls.stop());
  const server = new RpcServer({
    store,
    identity: tls.current,
    clock,
    logger: logger.child({ module: 'rpc' }),
  });
  const dispatcher = new Dispatcher({
    ...common,
    halted,
    decisions,
    logger: logger.child({ module: 'dispatcher' }),
  });
  teardown.add('dispatcher', () => dispatcher.stop());
  const peers = new ManagerPeersCaller(() => tls.current);
  teardown.add('peers', () => peers.close());
  const streams = new StreamBroker({ ...common, dispatcher, peers });
  const locator = new ImageLocator({
    store,
    clock,
    sign: (payload) => signImageToken(payload, tls.current.keyPem, tls.current.certPem),
  });
  const admission = new Admission(store, clock, random, {
    managerAddrs: (view) => managerAddrs(view, config.advertiseAddr),
    managerBootstrap: () => undefined,
  });
  serveDispatcher(server, dispatcher, locator, logger.child({ module: 'dispatcher' }));
  serveSideStreams(server, streams, clock, logger.child({ module: 'rpc' }));
  serveManagerPeers(server, dispatcher);
  serveCertificateAuthority(server, admission);
  await server.listen(config.listenAddr);
  teardown.add('gRPC server', () => server.close());
  const localStreams = new LocalStreamServer({
    path: join(config.runDir, LOCAL_STREAMS_SOCKET),
    broker: streams,
    nodeId: identity.nodeId,
    logger: logger.child({ module: 'rpc' }),
  });
  await localStreams.listen();
  teardown.add('local streams', () => localStreams.close());

  const authority = new CertificateAuthority(store, clock, random);
  const api = createApiServer({
    store,
    streams,
    logBroker: new ServiceLogBroker({ store, streams, clock }),
    authority,
    localNode: localNode(join(config.runDir, 'tsd.sock')),
    nodeId: identity.nodeId,
    managerAddr: config.advertiseAddr,
    leaderId: () => store.view().leaderId,
    reports: dispatcher,
    decisions,
    clock,
    random,
    logger,
    dataDir: dirname(config.dataDir),
  });
  await serveApi({ config, nodeId: identity.nodeId, api, authority, clock, logger, teardown });
  logger.info({ grpc: config.listenAddr, api: config.apiListenAddr }, 'manager is ready');
  await lead(parts, leading, logger, halted, signal);
}

interface Leading {
  /** While this manager leads. */
  decisions: LeaderDecisions | undefined;
}

/** Campaigns and leads, over and over, until the manager stops. */
async function lead(
  { env, kv, store, identity }: Parts,
  leading: Leading,
  logger: Logger,
  halted: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random } = env;
  await persist(() => endFormerLife(kv, identity.nodeId), env, signal);
  const election = new Election(kv, { clock, random, logger, managerId: identity.nodeId });
  const run = async (term: Term) => {
    new NodeMonitor({
      store: term.store,
      clock,
      logger: logger.child({ module: 'node-monitor' }),
      halted: () => halted() || !term.isSure(),
      signal: term.signal,
    });
    const loops = await startLoops(term.store, clock, random, logger, term.signal);
    leading.decisions = loops.decisions;
    await aborted(term.signal);
    leading.decisions = undefined;
  };
  await new Leader({ store, election, clock, logger, lead: run }).run(signal);
}

async function openKv(config: Config, env: Environment, teardown: Teardown): Promise<Kv> {
  const endpoints = [...config.etcdEndpoints];
  if (endpoints.length === 0) {
    const supervisor = new EtcdSupervisor({
      ...env,
      logger: env.logger.child({ module: 'etcd' }),
      name: 'tessera',
      dataDir: join(config.dataDir, 'etcd'),
      runDir: join(config.runDir, 'etcd'),
    });
    teardown.add('etcd supervisor', () => supervisor.close());
    await supervisor.start();
    endpoints.push(supervisor.endpoint);
  }
  const tls = config.etcdTls && readEtcdTls(config.etcdTls);
  const kv = new EtcdKv(
    { ...env, logger: env.logger.child({ module: 'etcd' }) },
    { endpoints, ...(tls && { tls }) },
  );
  teardown.add('etcd client', () => kv.close());
  return kv;
}

function requireIdentity(files: NodeFiles, store: ClusterStore, config: Config): NodeIdentity {
  const identity = files.identity();
  if (!identity)
    throw new ClusterError('failedPrecondition', `no identity in ${config.nodeDir}: init or join first`);
  const { cluster } = store.view();
  if (cluster?.id !== identity.clusterId)
    throw new ClusterError(
      'failedPrecondition',
      `this node is part of cluster ${identity.clusterId}, and etcd holds ${cluster ? `cluster ${cluster.id}` : 'none'}`,
    );
  return identity;
}

/** Tries again while etcd is away, for two minutes. */
async function persist<T>(
  act: () => Promise<T>,
  { clock, logger }: Environment,
  signal: AbortSignal,
): Promise<T> {
  const untilMs = clock.monotonic() + STORE_WITHIN_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isTemporary(error) || clock.monotonic() > untilMs || signal.aborted) throw error;
      logger.warn({ error }, 'etcd does not answer yet');
      await delay(clock, STORE_RETRY_MS, signal);
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
