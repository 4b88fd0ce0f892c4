import { posix } from 'node:path';
import { invalid } from '@tessera/shared/errors';
import {
  type BlkioLimit,
  ConsoleSize,
  Container,
  type ContainerResources,
  ContainerRestartPolicy,
  ContainerSpec,
  HostConfig,
  ContainerResources as Resources,
} from '@tessera/shared/model';
import { parseReference } from '../../../controlapi/image-reference.js';
import { healthcheckFromDocker } from '../healthcheck-json.js';
import { isEmpty, parseBody, sortedMap } from '../json-edge.js';
import { assertRestartPolicy, assertSettings } from './host-config-rules.js';
import { assertHostOptions, hostWarnings } from './host-options.js';
import { mountsFromDocker } from './mounts-from-docker.js';
import { placingFromDocker } from './placement-from-docker.js';
import { formatPort, parsePort, portsFromDocker } from './ports-from-docker.js';
import {
  type CreateBody,
  createBody,
  type HostConfigBody,
  type ResourcesBody,
  type RestartPolicyBody,
  updateBody,
} from './schema.js';

/** Up to this API version clients remove containers themselves. */
const AUTO_REMOVE_SINCE = 125;
/** Terminals had their first size from a later call. */
const CONSOLE_SIZE_SINCE = 142;
const NOT_GIVEN = -1;

/**
 * A container from the body of `POST /containers/create`, without id and name. Image, networks and other containers are
 * as the user named them.
 * @throws ClusterError `invalidArgument` for whatever is not valid, or not honoured
 */
export function containerFromDocker(body: unknown, version: number): Container {
  if (body === undefined) throw invalid('invalid JSON: got EOF while reading request body');
  if (isEmpty(body) && !Array.isArray(body))
    throw invalid('config cannot be empty in order to create a container');
  const json = parseBody('container', createBody, body);
  assertSettings(json);
  const host = json.HostConfig ?? {};
  assertHostOptions(json, host);
  const placing = placingFromDocker(json.Env ?? [], sortedMap(json.Labels));
  const { env, placement, rescheduleOnNodeFailure } = placing;
  const labels = sortedMap(placing.labels);
  const exposed = Object.keys(json.ExposedPorts ?? {}).map((text) => formatPort(parsePort(text)));
  return Container.fromPartial({
    spec: { ...specFromDocker(json, host), env, labels },
    host: {
      ...hostFromDocker(json, host, version),
      autoRemove: version >= AUTO_REMOVE_SINCE && (host.AutoRemove ?? false),
    },
    placement,
    rescheduleOnNodeFailure,
    networks: networksFromDocker(json, host.NetworkMode ?? ''),
    attachStdin: json.AttachStdin ?? false,
    attachStdout: json.AttachStdout ?? false,
    attachStderr: json.AttachStderr ?? false,
    stdinOnce: json.StdinOnce ?? false,
    exposedPorts: exposed.sort(),
  });
}

function specFromDocker(json: CreateBody, host: HostConfigBody): ContainerSpec {
  if (!json.Image) throw invalid('no image specified: name one in Image');
  const stopTimeout = json.StopTimeout;
  return ContainerSpec.fromPartial({
    ...imageFromDocker(json.Image),
    command: json.Entrypoint ?? [],
    args: json.Cmd ?? [],
    // An absolute path as it is meant: `/a/../b/` is `/b`.
    dir: json.WorkingDir?.startsWith('/') ? posix.resolve(json.WorkingDir) : (json.WorkingDir ?? ''),
    user: json.User ?? '',
    groups: host.GroupAdd ?? [],
    hostname: json.Hostname ?? '',
    tty: json.Tty ?? false,
    openStdin: json.OpenStdin ?? false,
    readOnly: host.ReadonlyRootfs ?? false,
    stopSignal: json.StopSignal ?? '',
    stopGraceMs: stopTimeout === undefined || stopTimeout === null ? -1 : graceMs(stopTimeout),
    mounts: mountsFromDocker(host, Object.keys(json.Volumes ?? {})),
    hosts: (host.ExtraHosts ?? []).map(extraHost),
    dnsServers: host.Dns ?? [],
    dnsSearch: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    sysctls: sortedMap(host.Sysctls),
    ulimits: (host.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard })),
    capAdd: host.CapAdd ?? [],
    capDrop: host.CapDrop ?? [],
    ...(json.Healthcheck ? { healthcheck: healthcheckFromDocker(json.Healthcheck) } : {}),
    shell: json.Shell ?? [],
    init: host.Init ?? false,
    privileged: host.Privileged ?? false,
    oomScoreAdj: host.OomScoreAdj ?? 0,
  });
}

/** Longer than any host stays up: Docker's "without end". */
const NO_TIMEOUT_MS = 100 * 365 * 86_400_000;

/** Seconds as Docker gives them: negative is without end. */
export const graceMs = (seconds: number): number => (seconds < 0 ? NO_TIMEOUT_MS : seconds * 1_000);

/** As the user wrote it, which lists show; its digest is what counts. */
function imageFromDocker(image: string): Pick<ContainerSpec, 'image' | 'imageDigest'> {
  if (/^(sha256:)?[0-9a-f]{4,64}$/.test(image)) return { image, imageDigest: '' };
  return { image, imageDigest: parseReference(image).digest };
}

/** `HOST:IP`, as the docker CLI writes it, to `IP HOST`. */
function extraHost(text: string): string {
  const at = text.search(/[:=]/);
  if (at < 1) throw invalid(`bad format for add-host: "${text}": write HOST:IP`);
  const [name, address] = [text.slice(0, at), text.slice(at + 1)];
  return `${address.replace(/^\[(.*)\]$/, '$1')} ${name}`;
}

/** Whoever may do as the host does has no label, unless one is asked for. Source: moby daemon/create.go, generateSecurityOpt */
const isUnlabelled = ({ SecurityOpt, Privileged, PidMode, IpcMode }: HostConfigBody): boolean =>
  (Privileged === true || PidMode === 'host' || IpcMode === 'host') &&
  !SecurityOpt?.some((option) => /^label[=:]/.test(option));

function hostFromDocker(json: CreateBody, host: HostConfigBody, version: number): HostConfig {
  const isUnmasked = host.MaskedPaths?.length === 0 || host.ReadonlyPaths?.length === 0;
  return HostConfig.fromPartial({
    resources: withSwap(resourcesFromDocker(host)),
    restart: restartFromDocker(host.RestartPolicy),
    networkMode: host.NetworkMode || 'default',
    ports: portsFromDocker(host.PortBindings),
    publishAllPorts: host.PublishAllPorts ?? false,
    ...(host.LogConfig?.Type || Object.keys(host.LogConfig?.Config ?? {}).length > 0
      ? { logDriver: { name: host.LogConfig?.Type ?? '', options: sortedMap(host.LogConfig?.Config) } }
      : {}),
    shmSizeBytes: host.ShmSize ?? 0,
    pidMode: host.PidMode ?? '',
    ipcMode: host.IpcMode ?? '',
    utsMode: host.UTSMode ?? '',
    cgroupnsMode: host.CgroupnsMode ?? '',
    // An empty list means that nothing is masked, which the CLI sends for this very option.
    securityOptions: [
      ...(host.SecurityOpt ?? []),
      ...(isUnmasked ? ['systempaths=unconfined'] : []),
      ...(isUnlabelled(host) ? ['label=disable'] : []),
    ],
    domainname: json.Domainname ?? '',
    maskedPaths: host.MaskedPaths ?? [],
    readonlyPaths: host.ReadonlyPaths ?? [],
    usernsMode: host.UsernsMode ?? '',
    annotations: sortedMap(host.Annotations),
    kernelMemoryTcpBytes: host.KernelMemoryTCP ?? 0,
    volumesFrom: host.VolumesFrom ?? [],
    volumeDriver: host.VolumeDriver ?? '',
    console: consoleFromDocker(host.ConsoleSize, version),
  });
}

/** Rows and columns. Source: moby api/server/router/container/container_routes.go. */
function consoleFromDocker(size: HostConfigBody['ConsoleSize'], version: number): HostConfig['console'] {
  const [rows = 0, columns = 0] = version >= CONSOLE_SIZE_SINCE ? (size ?? []) : [];
  return rows > 0 || columns > 0 ? ConsoleSize.fromPartial({ rows, columns }) : undefined;
}

/** As much swap as memory, unless something else is said. Source: moby daemon/daemon_unix.go, adaptContainerSettings. */
const withSwap = (resources: ContainerResources): ContainerResources =>
  resources.memoryBytes > 0 && resources.memorySwapBytes === 0
    ? { ...resources, memorySwapBytes: 2 * resources.memoryBytes }
    : resources;

/** Of what is left out on any host. @throws ClusterError as `containerFromDocker` */
export const warningsFromDocker = (body: unknown, version: number): string[] =>
  hostWarnings(parseBody('container', createBody, body).HostConfig ?? {}, version);

/** Only what is given: an update leaves the rest as it is. */
export function resourcesFromDocker(json: ResourcesBody): ContainerResources {
  return Resources.fromPartial({
    memoryBytes: json.Memory ?? 0,
    memoryReservationBytes: json.MemoryReservation ?? 0,
    memorySwapBytes: json.MemorySwap ?? 0,
    memorySwappiness: json.MemorySwappiness ?? NOT_GIVEN,
    oomKillDisable: json.OomKillDisable ?? false,
    nanoCpus: json.NanoCpus ?? 0,
    cpuShares: json.CpuShares ?? 0,
    cpuQuotaUs: json.CpuQuota ?? 0,
    cpuPeriodUs: json.CpuPeriod ?? 0,
    cpusetCpus: json.CpusetCpus ?? '',
    cpusetMems: json.CpusetMems ?? '',
    pidsLimit: Math.max(0, json.PidsLimit ?? 0),
    blkioWeight: json.BlkioWeight ?? 0,
    blkioLimits: blkioFromDocker(json),
    devices: (json.Devices ?? []).map(({ PathOnHost, PathInContainer, CgroupPermissions }) => ({
      pathOnHost: PathOnHost,
      pathInContainer: PathInContainer || PathOnHost,
      permissions: CgroupPermissions || 'rwm',
    })),
    deviceCgroupRules: json.DeviceCgroupRules ?? [],
  });
}

function blkioFromDocker(json: ResourcesBody): BlkioLimit[] {
  const limits = (kind: BlkioLimit['kind'], list: ResourcesBody['BlkioDeviceReadBps']) =>
    (list ?? []).map(({ Path, Rate }): BlkioLimit => ({ kind, path: Path, rate: Rate }));
  return [
    ...(json.BlkioWeightDevice ?? []).map(
      ({ Path, Weight }): BlkioLimit => ({ kind: 'weight', path: Path, rate: Weight }),
    ),
    ...limits('read_bps', json.BlkioDeviceReadBps),
    ...limits('write_bps', json.BlkioDeviceWriteBps),
    ...limits('read_iops', json.BlkioDeviceReadIOps),
    ...limits('write_iops', json.BlkioDeviceWriteIOps),
  ];
}

/** @throws ClusterError `invalidArgument` in Docker's words */
export function restartFromDocker(json: RestartPolicyBody | null | undefined): ContainerRestartPolicy {
  assertRestartPolicy(json);
  const name = (json?.Name || 'no') as 'no' | 'always' | 'unless-stopped' | 'on-failure';
  const maxRetries = json?.MaximumRetryCount ?? 0;
  return ContainerRestartPolicy.fromPartial({
    name: name === 'unless-stopped' ? 'unless_stopped' : name === 'on-failure' ? 'on_failure' : name,
    maxRetries,
  });
}

/** Networks by name with the names that the container answers to there; those of one node are its mode's. */
function networksFromDocker(json: CreateBody, mode: string) {
  const endpoints = new Map(Object.entries(json.NetworkingConfig?.EndpointsConfig ?? {}));
  if (isOwnNode(mode)) {
    for (const name of ['default', 'bridge', mode]) {
      if ((endpoints.get(name)?.Aliases ?? []).length > 0)
        throw invalid(
          `NetworkingConfig.EndpointsConfig.${name}.Aliases: names are given on networks of the cluster; use --network NAME`,
        );
      endpoints.delete(name);
    }
    if (endpoints.size > 0 && !['', 'default', 'bridge'].includes(mode))
      throw invalid(`conflicting options: cannot attach both user-defined networks and --network ${mode}`);
  }
  const first = isOwnNode(mode) ? [] : [mode];
  return [...new Set([...first, ...endpoints.keys()])].map((networkId) => ({
    networkId,
    aliases: endpoints.get(networkId)?.Aliases ?? [],
  }));
}

/** Modes that name no network of the cluster. */
const isOwnNode = (mode: string): boolean =>
  ['', 'default', 'bridge', 'none', 'host'].includes(mode) || mode.startsWith('container:');

export interface ContainerUpdate {
  readonly resources: (before: ContainerResources) => ContainerResources;
  readonly conflict: (before: ContainerResources) => string | undefined;
  readonly restart: ContainerRestartPolicy | undefined;
}

/** The body of `POST /containers/:id/update`. What is not given, or zero, stays as it is, as with Docker. */
export function updateFromDocker(body: unknown): ContainerUpdate {
  const json = parseBody('update', updateBody, body);
  if ((json.Ulimits ?? []).length > 0)
    throw invalid('Ulimits: those of a container that exists cannot be changed; leave them out');
  const given = resourcesFromDocker(json);
  const isUnlimitedPids = json.PidsLimit !== undefined && json.PidsLimit !== null && json.PidsLimit <= 0;
  return {
    conflict: (before) => updateConflict(given, before),
    resources: (before) => ({
      ...before,
      ...Object.fromEntries(Object.entries(given).filter(([key, value]) => isGiven(key, value))),
      ...(isUnlimitedPids ? { pidsLimit: 0 } : {}),
    }),
    restart: json.RestartPolicy?.Name ? restartFromDocker(json.RestartPolicy) : undefined,
  };
}

/** Processors are limited in one of two ways, and swap is counted with memory. Source: moby container/container_unix.go. */
function updateConflict(given: ContainerResources, before: ContainerResources): string | undefined {
  const options = (what: string, other: string) =>
    `Conflicting options: ${what} cannot be updated as ${other} has already been set`;
  if (given.nanoCpus > 0 && before.cpuPeriodUs > 0) return options('Nano CPUs', 'CPU Period');
  if (given.nanoCpus > 0 && before.cpuQuotaUs > 0) return options('Nano CPUs', 'CPU Quota');
  if (given.cpuPeriodUs > 0 && before.nanoCpus > 0) return options('CPU Period', 'NanoCPUs');
  if (given.cpuQuotaUs > 0 && before.nanoCpus > 0) return options('CPU Quota', 'NanoCPUs');
  const isOverSwap = before.memorySwapBytes > 0 && given.memoryBytes > before.memorySwapBytes;
  return isOverSwap && given.memorySwapBytes === 0
    ? 'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time'
    : undefined;
}

function isGiven(key: string, value: unknown): boolean {
  if (key === '_unknownFields') return false;
  if (key === 'memorySwappiness') return value !== NOT_GIVEN;
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}
