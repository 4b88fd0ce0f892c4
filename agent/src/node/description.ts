import { readFileSync } from 'node:fs';
import { availableParallelism, machine, release, totalmem } from 'node:os';
import { ENGINE_VERSION, type HostFacts } from '@tessera/shared/docker-api';
import type { NodeDescription, Resources } from '@tessera/shared/model';
import { bootId } from '@tessera/shared/process';
import { volumesDirectory } from '../volumes/directory.js';
import { hostOf, joinAddress } from './addresses.js';
import { cgroupModeOf } from './capacity.js';
import type { NodeSettings } from './node-identity.js';

export interface DescriptionSources {
  readonly hostname: string;
  readonly dataDir: string;
  readonly capacity: Resources;
  /** HOST:PORT the peer server was told to listen on. */
  readonly peerListenAddr: string;
  readonly insecureRegistries: readonly string[];
  readonly registryMirrors: readonly string[];
  /** Whether containers here have SELinux labels. */
  readonly selinux: boolean;
}

/**
 * What this node tells the cluster of itself.
 *
 * @param peerPort where the peer server really listens
 */
export function describeNode(
  sources: DescriptionSources,
  settings: NodeSettings,
  peerPort: number,
): NodeDescription {
  const { hostname, dataDir, capacity, peerListenAddr } = sources;
  const peerHost = hostOf(peerListenAddr.replace(/:0$/, ''));
  const reachable = ['0.0.0.0', '::', ''].includes(peerHost) ? hostOf(settings.advertiseAddr) : peerHost;
  return {
    hostname,
    os: 'linux',
    architecture: machine(),
    kernel: release(),
    engineVersion: ENGINE_VERSION,
    engineLabels: {},
    capacity,
    peerAddr: joinAddress(reachable, peerPort),
    dataPathAddr: settings.dataPathAddr,
    bootId: bootId(),
    cgroupMode: cgroupMode(),
    operatingSystem: operatingSystem(),
    volumesDir: volumesDirectory(dataDir),
    // Known later: whoever sends this fills it in.
    bridgeAddr: '',
    insecureRegistries: [...sources.insecureRegistries],
    registryMirrors: [...sources.registryMirrors],
    selinux: sources.selinux,
  };
}

/** Facts of the host for `/info`: the capacity offered, not what lies beyond it. */
export function hostFacts(sources: DescriptionSources, nowMs: number): HostFacts {
  const { hostname, dataDir, capacity, insecureRegistries, registryMirrors, selinux } = sources;
  return {
    kernel: release(),
    machine: machine(),
    hostname,
    cpus: Math.max(1, Math.round(capacity.nanoCpus / 1e9)) || availableParallelism(),
    memoryBytes: capacity.memoryBytes || totalmem(),
    cgroupMode: cgroupMode(),
    dataDir,
    operatingSystem: operatingSystem(),
    insecureRegistries,
    registryMirrors,
    selinux,
    nowMs,
  };
}

const cgroupMode = (): string => cgroupModeOf(readFileSync('/proc/self/mountinfo', 'utf8'));

/** Source: os-release(5). */
function operatingSystem(): string {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      const [, quoted = ''] = /^PRETTY_NAME=(.*)$/m.exec(readFileSync(path, 'utf8')) ?? [];
      const name = quoted.replace(/^(["'])(.*)\1$/, '$2').trim();
      if (name !== '') return name;
    } catch {
      // A host without that file is still a Linux.
    }
  }
  return 'Linux';
}
