import { invalid } from '@tessera/shared/errors';
import type { CreateBody, HostConfigBody } from './schema.js';

// What Docker refuses, or leaves out with a warning, before any host is asked. Sources: moby,
// daemon/container_unix.go; runconfig/hostconfig_unix.go, validateNetMode; daemon/daemon_unix.go.

/** The API version since which these fields have no meaning. */
const KERNEL_MEMORY_GONE = 142;
const JOIN = 'container:';

/** @throws ClusterError `invalidArgument` in Docker's words */
export function assertHostOptions(config: CreateBody, host: HostConfigBody): void {
  assertModes(config, host);
  if (host.NetworkMode?.startsWith(JOIN)) assertJoined(config, host);
  assertUnsupported(host);
}

function assertModes({ Hostname }: CreateBody, host: HostConfigBody): void {
  const modes = [
    ['PID', host.PidMode, ['', 'private', 'host']],
    ['IPC', host.IpcMode, ['', 'private', 'shareable', 'none', 'host']],
    ['UTS', host.UTSMode, ['', 'private', 'host']],
    ['cgroup namespace', host.CgroupnsMode, ['', 'private', 'host']],
    ['userns', host.UsernsMode, ['', 'host']],
  ] as const;
  for (const [name, mode, known] of modes) {
    const joins = (name === 'PID' || name === 'IPC') && mode?.startsWith(JOIN) && mode !== JOIN;
    if (mode && !joins && !(known as readonly string[]).includes(mode))
      throw invalid(`invalid ${name} mode: ${mode}`);
  }
  if (host.NetworkMode === JOIN || host.NetworkMode === 'container')
    throw invalid('invalid container format container:<name|id>');
  if (host.UTSMode === 'host' && Hostname) throw invalid('conflicting options: hostname and the UTS mode');
}

/** With another container's network come its name, its names of hosts and its ports. */
function assertJoined(config: CreateBody, host: HostConfigBody): void {
  const has = (list: readonly unknown[] | null | undefined) => (list?.length ?? 0) > 0;
  const conflicts = [
    [config.Hostname, 'hostname and the network mode'],
    [has(host.Dns), 'dns and the network mode'],
    [has(host.ExtraHosts), 'custom host-to-IP mapping and the network mode'],
    [
      Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts,
      'port publishing and the container type network mode',
    ],
    [Object.keys(config.ExposedPorts ?? {}).length > 0, 'port exposing and the container type network mode'],
  ] as const;
  for (const [isGiven, what] of conflicts) if (isGiven) throw invalid(`conflicting options: ${what}`);
}

function assertUnsupported(host: HostConfigBody): void {
  const request = host.DeviceRequests?.[0];
  if (request) {
    const capabilities = (request.Capabilities ?? []).map((all) => `[${all.join(' ')}]`).join(' ');
    throw invalid(
      `could not select device driver ${JSON.stringify(request.Driver ?? '')} with capabilities: [${capabilities}]`,
    );
  }
  if (host.Runtime && host.Runtime !== 'tessera')
    throw invalid(`unknown or invalid runtime name: ${host.Runtime}`);
  if (host.Isolation && host.Isolation !== 'default')
    throw invalid(`invalid isolation '${host.Isolation}' on linux`);
  if (host.CpuRealtimePeriod || host.CpuRealtimeRuntime)
    throw invalid('kernel does not support CPU real-time scheduler');
  if (host.IOMaximumIOps || host.IOMaximumBandwidth)
    throw invalid('Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps');
  if (Object.keys(host.StorageOpt ?? {}).length > 0)
    throw invalid("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
  if (Object.hasOwn(host.Annotations ?? {}, ''))
    throw invalid('invalid Annotations: the empty string is not permitted as an annotation key');
}

/** What is left out wherever the container comes to run. */
export function hostWarnings(host: HostConfigBody, version: number): string[] {
  const warnings: string[] = [];
  if (host.KernelMemory && version < KERNEL_MEMORY_GONE)
    warnings.push(
      'Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.',
    );
  if (host.CpuPercent) warnings.push('linux does not support CPU percent. Percent discarded.');
  if (host.NetworkMode === 'host' && Object.keys(host.PortBindings ?? {}).length > 0)
    warnings.push('Published ports are discarded when using host network mode');
  return warnings;
}
