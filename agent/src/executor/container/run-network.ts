import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import {
  type Container as ContainerObject,
  type ContainerSpec,
  type HostConfig,
  PortBinding,
} from '@tessera/shared/model';
import type { ImageConfig } from '../../image/image-store.js';
import type { ContainerNetwork, NetworkFiles, Sandbox } from '../../network/container-network.js';
import { hostLine } from '../../network/network-files.js';
import type { Container } from './container.js';
import type { ContainerRecord, StartRecord } from './container-record.js';
import { networkKind } from './namespaces.js';

// What one run of a container needs of the network part.

/** A run's place on the networks of a task. */
export const sandboxOf = ({ record }: Container, pid: number): Sandbox => ({
  containerId: record.id,
  taskId: record.taskId,
  pid,
  attachments: record.attachments,
  hostname: record.hostname,
  dnsServers: record.dnsServers,
});

/** The same of a container that is no task's. */
export const sandboxOfStart = (run: Container, pid: number, { network, ports }: StartRecord): Sandbox => ({
  ...sandboxOf(run, pid),
  isolated: network === 'none',
  isOpen: true,
  publish: network === 'own' ? ports : [],
});

/** Those that were asked for and, for all to be published, each other one that it or its image names. */
export function wantedPorts({ host, exposedPorts }: ContainerObject, image: ImageConfig): PortBinding[] {
  const asked = [...(host?.ports ?? [])];
  if (!host?.publishAllPorts) return asked;
  for (const text of new Set([...exposedPorts, ...(image.exposedPorts ?? [])])) {
    const [port = '', protocol = 'tcp'] = text.split('/');
    const containerPort = Number(port);
    if (asked.some((each) => each.containerPort === containerPort && each.protocol === protocol)) continue;
    asked.push(PortBinding.create({ protocol, containerPort }));
  }
  return asked;
}

/** Or the directory where those of the container lie whose network it joins. */
export function networkFilesOf(
  { hostname, attachments, filesOf }: ContainerRecord,
  { spec, host }: { readonly spec: ContainerSpec; readonly host: HostConfig },
  parts: {
    runDir(id: string): string;
    networkFiles(of: Parameters<ContainerNetwork['files']>[0]): NetworkFiles;
  },
  localAddress = '',
): NetworkFiles | string {
  const network = networkKind(host.networkMode);
  if (network === 'joined') return parts.runDir(filesOf);
  if (network === 'host') return hostFiles(spec.hosts);
  const { hosts: extraHosts, dnsServers, dnsSearch, dnsOptions } = spec;
  const own = { hostname, domainname: host.domainname, attachments, localAddress };
  return parts.networkFiles({ ...own, extraHosts, dnsServers, dnsSearch, dnsOptions });
}

/**
 * Its /etc/hosts, in its run directory: before it is mounted, and again in place once its address is known, which is
 * before the command runs.
 */
export function writeHosts(runDir: string, files: NetworkFiles | string): void {
  if (typeof files === 'string') return; // those of the container whose network it joins
  writeFileSync(`${runDir}/hosts`, files.hosts);
  chmodSync(`${runDir}/hosts`, 0o644);
}

/** What is left for its shim to write. */
export const withoutHosts = (files: NetworkFiles | string): Pick<NetworkFiles, 'resolvConf'> | string =>
  typeof files === 'string' ? files : { resolvConf: files.resolvConf };

/** By which the host reaches itself. */
const LOOPBACK = '127.0.0.1';

/** Of a container with the host's own network: the host's files. */
function hostFiles(extraHosts: readonly string[]): NetworkFiles {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return ''; // a host without the file
    }
  };
  const hosts = read('/etc/hosts');
  const own = hosts === '' || hosts.endsWith('\n') ? hosts : `${hosts}\n`;
  return {
    resolvConf: read('/etc/resolv.conf'),
    hosts: own + extraHosts.map((line) => `${hostLine(line, LOOPBACK)}\n`).join(''),
  };
}
