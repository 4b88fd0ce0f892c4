import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NAT_BRIDGE } from '@tessera/shared/docker-api';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import type { Config } from './config.js';
import type { OpenParts } from './daemon.js';
import { ContainerExecutor } from './executor/container/index.js';
import { LocalImageStore, PeerImageFetcher, parseRegistryAuth, Registries } from './image/index.js';
import { NetworkManager } from './network/index.js';
import {
  dialledAt,
  type NodeDirectory,
  type NodeIdentity,
  type NodeSettings,
  ownManager,
} from './node/index.js';
import { ImageLocator, PeerListener } from './peers/index.js';

export interface PartsOptions {
  readonly config: Config;
  readonly directory: NodeDirectory;
  readonly settings: NodeSettings;
  readonly identity: NodeIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Opens everything of this node that touches the host: images, networks, containers, and the server for peers. */
export async function openParts(options: PartsOptions): Promise<OpenParts> {
  const { config, directory, settings, identity, clock, random, logger } = options;
  const images = await LocalImageStore.open({
    directory: join(config.dataDir, 'images'),
    clock,
    random,
    logger,
  });
  const registries = new Registries({
    settings: {
      insecureRegistries: config.insecureRegistries,
      mirrors: config.registryMirrors,
      certsDirectory: join(config.dataDir, 'certs.d'),
      proxies: config,
    },
    clock,
    random,
    logger,
  });
  images.setRegistries(registries);
  const locator = new ImageLocator({
    credentials: () => directory.credentials(),
    managerAddrs: () =>
      (directory.identity()?.managerAddrs ?? []).map((addr) =>
        dialledAt(ownManager(identity, settings), addr),
      ),
    clock,
  });
  images.setFetcher(
    new PeerImageFetcher({
      blobs: images.blobs,
      clock,
      random,
      logger,
      locate: (imageId, signal) => locator.locate(imageId, signal),
      openPeer: (source) => locator.openPeer(source),
      fromRegistry: (image, layers, auth, signal) =>
        registries.puller.fetchLayers(
          image.repoDigests,
          parseRegistryAuth(auth),
          layers,
          images.blobs,
          signal,
        ),
    }),
  );

  const namespaces = join(config.runDir, 'netns');
  mkdirSync(namespaces, { recursive: true, mode: 0o700 });
  const network = await NetworkManager.open({
    nodeId: identity.nodeId,
    fabricPath: join(namespaces, 'fabric'),
    natBridge: NAT_BRIDGE,
    dataPathAddr: settings.dataPathAddr,
    clock,
    random,
    logger,
  });
  const executor = await ContainerExecutor.open({
    dataDir: config.dataDir,
    runDir: config.runDir,
    cgroupParent: config.cgroupParent,
    selinux: config.selinux,
    images,
    network,
    clock,
    random,
    logger,
  });
  const listener = await PeerListener.open({
    listenAddr: config.peerAddr,
    clusterId: identity.clusterId,
    credentials: directory.credentials(),
    images,
    clock,
  });
  return {
    executor,
    images,
    plane: network,
    bridge: network.bridge,
    logs: executor.logs,
    volumes: executor.volumes,
    peerPort: listener.port,
    recovered: () => images.recovered(),
    async close() {
      listener.close();
      await network.close();
    },
    async clear() {
      listener.close();
      await network.destroy();
    },
  };
}
