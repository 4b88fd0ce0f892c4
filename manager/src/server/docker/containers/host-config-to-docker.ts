import { MASKED_PATHS_DEFAULT, READONLY_PATHS_DEFAULT } from '@tessera/shared/docker-api';
import {
  type BlkioLimit,
  type Container,
  ContainerResources,
  type ContainerRestartPolicy,
  HostConfig,
  type Mount,
} from '@tessera/shared/model';
import type { View } from '../../../store/view.js';
import { mountToDocker } from '../mount-json.js';
import { portMap } from './networks-to-docker.js';

const SHM_BYTES_DEFAULT = 64 * 2 ** 20;
const WEIGHT = 'weight';

/** A container's HostConfig in Docker's JSON, with the defaults that dockerd shows. */
export function hostConfigToDocker(view: View, container: Container): object {
  const host = container.host ?? HostConfig.fromPartial({});
  const spec = container.spec!;
  const of = (origin: Mount['origin']) => spec.mounts.filter((mount) => mount.origin === origin);
  const [binds, tmpfs, mounts] = [of('binds'), of('tmpfs_flag'), of('mounts')];
  return {
    Binds: binds.length > 0 ? binds.map(bindText) : null,
    ContainerIDFile: '',
    LogConfig: { Type: host.logDriver?.name || 'json-file', Config: host.logDriver?.options ?? {} },
    NetworkMode: networkModeText(view, host.networkMode),
    PortBindings: portMap(host.ports, []),
    RestartPolicy: restartToDocker(host.restart),
    AutoRemove: host.autoRemove,
    VolumeDriver: host.volumeDriver,
    VolumesFrom: orNull(host.volumesFrom),
    ConsoleSize: [host.console?.rows ?? 0, host.console?.columns ?? 0],
    CapAdd: orNull(spec.capAdd),
    CapDrop: orNull(spec.capDrop),
    CgroupnsMode: host.cgroupnsMode || 'private',
    Dns: spec.dnsServers,
    DnsOptions: spec.dnsOptions,
    DnsSearch: spec.dnsSearch,
    ExtraHosts: orNull(spec.hosts.map(extraHost)),
    GroupAdd: orNull(spec.groups),
    IpcMode: host.ipcMode || 'private',
    Cgroup: '',
    Links: null,
    OomScoreAdj: spec.oomScoreAdj,
    PidMode: host.pidMode,
    Privileged: spec.privileged,
    PublishAllPorts: host.publishAllPorts,
    ReadonlyRootfs: spec.readOnly,
    SecurityOpt: orNull(host.securityOptions),
    ...(tmpfs.length > 0
      ? { Tmpfs: Object.fromEntries(tmpfs.map(({ target, mode }) => [target, mode])) }
      : {}),
    ...(mounts.length > 0 ? { Mounts: mounts.map(mountToDocker) } : {}),
    UTSMode: host.utsMode,
    UsernsMode: host.usernsMode,
    ...(Object.keys(host.annotations).length > 0 ? { Annotations: host.annotations } : {}),
    ShmSize: host.shmSizeBytes || SHM_BYTES_DEFAULT,
    ...(Object.keys(spec.sysctls).length > 0 ? { Sysctls: spec.sysctls } : {}),
    Runtime: 'tessera',
    Isolation: '',
    ...(spec.init ? { Init: true } : {}),
    ...resourcesToDocker(
      host.resources ?? ContainerResources.fromPartial({ memorySwappiness: -1 }),
      spec.ulimits,
    ),
    ...protectedPaths(host, spec.privileged),
  };
}

function resourcesToDocker(
  resources: ContainerResources,
  ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[],
): object {
  const limits = (kind: BlkioLimit['kind']) => {
    const found = resources.blkioLimits.filter((limit) => limit.kind === kind);
    return found.map(({ path, rate }) =>
      kind === WEIGHT ? { Path: path, Weight: rate } : { Path: path, Rate: rate },
    );
  };
  return {
    CpuShares: resources.cpuShares,
    Memory: resources.memoryBytes,
    NanoCpus: resources.nanoCpus,
    CgroupParent: '',
    BlkioWeight: resources.blkioWeight,
    BlkioWeightDevice: limits(WEIGHT),
    BlkioDeviceReadBps: limits('read_bps'),
    BlkioDeviceWriteBps: limits('write_bps'),
    BlkioDeviceReadIOps: limits('read_iops'),
    BlkioDeviceWriteIOps: limits('write_iops'),
    CpuPeriod: resources.cpuPeriodUs,
    CpuQuota: resources.cpuQuotaUs,
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpusetCpus: resources.cpusetCpus,
    CpusetMems: resources.cpusetMems,
    Devices: resources.devices.map(({ pathOnHost, pathInContainer, permissions }) => ({
      PathOnHost: pathOnHost,
      PathInContainer: pathInContainer,
      CgroupPermissions: permissions,
    })),
    DeviceCgroupRules: orNull(resources.deviceCgroupRules),
    DeviceRequests: null,
    MemoryReservation: resources.memoryReservationBytes,
    MemorySwap: resources.memorySwapBytes,
    MemorySwappiness: resources.memorySwappiness < 0 ? null : resources.memorySwappiness,
    OomKillDisable: resources.oomKillDisable,
    PidsLimit: resources.pidsLimit || null,
    Ulimits: ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

/** What is hidden from it and what it cannot change: what the user said, or what nobody needs to say. */
function protectedPaths({ securityOptions, maskedPaths, readonlyPaths }: HostConfig, isPrivileged: boolean) {
  if (isPrivileged) return { MaskedPaths: null, ReadonlyPaths: null };
  if (securityOptions.includes('systempaths=unconfined')) return { MaskedPaths: [], ReadonlyPaths: [] };
  return {
    MaskedPaths: maskedPaths.length > 0 ? maskedPaths : MASKED_PATHS_DEFAULT,
    ReadonlyPaths: readonlyPaths.length > 0 ? readonlyPaths : READONLY_PATHS_DEFAULT,
  };
}

function restartToDocker(policy: ContainerRestartPolicy | undefined): object {
  const name = policy?.name ?? 'no';
  return { Name: name.replace('_', '-'), MaximumRetryCount: policy?.maxRetries ?? 0 };
}

/** Networks of the cluster by their name. */
export function networkModeText(view: View, mode: string): string {
  return view.networks.get(mode)?.spec?.name ?? (mode || 'default');
}

const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length > 0 ? list : null);

function bindText({ source, target, mode, volumeMount }: Mount): string {
  return [...(volumeMount?.anonymous ? [] : [source]), target, ...(mode ? [mode] : [])].join(':');
}

/** `IP HOST` to `HOST:IP`. */
function extraHost(line: string): string {
  const [address = '', ...names] = line.split(' ');
  return `${names.join(' ')}:${address}`;
}
