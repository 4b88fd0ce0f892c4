import { statSync } from 'node:fs';
import type { SpecRecord } from '@tessera/native';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import type {
  BlkioLimit,
  ContainerResources,
  ContainerSpec,
  DeviceMapping,
  HostConfig,
  TaskSpec,
} from '@tessera/shared/model';
import type { BlockLimit, CgroupDriver, DeviceRule, GroupLimits } from './cgroups/index.js';
import { DEFAULT_DEVICES } from './file-tree.js';

// What of a container is not in its ContainerSpec: limits, devices, namespaces, protection. For a task, the defaults.

/** CLONE_NEW* of clone(2). */
const NEW = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  pid: 0x20000000,
  net: 0x40000000,
} as const;

const SHM_BYTES = 64 << 20;

export type NetworkKind = 'own' | 'none' | 'host';

export interface HostSettings {
  readonly limits: GroupLimits;
  readonly devices: readonly DeviceRule[];
  /** Nodes made in /dev. */
  readonly deviceNodes: readonly SpecRecord[];
  readonly namespaces: number;
  readonly network: NetworkKind;
  readonly ownUts: boolean;
  readonly ownIpc: boolean;
  readonly shmBytes: number;
  /** Undefined: the default lists. */
  readonly maskedPaths: readonly string[] | undefined;
  readonly readonlyPaths: readonly string[] | undefined;
  readonly seccomp: boolean;
  readonly noNewPrivileges: boolean;
  readonly domainname: string;
}

export function taskSettings({ resources, container }: TaskSpec): HostSettings {
  const { limits, reservations } = resources ?? {};
  return {
    ...defaults(container?.privileged === true),
    limits: {
      ...(limits?.nanoCpus ? { nanoCpus: limits.nanoCpus } : {}),
      ...(limits?.memoryBytes ? { memoryBytes: limits.memoryBytes } : {}),
      ...(limits?.pids ? { pids: limits.pids } : {}),
      ...(reservations?.memoryBytes ? { memoryReservationBytes: reservations.memoryBytes } : {}),
    },
    noNewPrivileges: container?.noNewPrivileges === true,
  };
}

const defaults = (privileged: boolean): HostSettings => ({
  limits: {},
  devices: privileged ? [{ type: 'a', access: 'rwm' }] : DEFAULT_DEVICES,
  deviceNodes: [],
  namespaces: Object.values(NEW).reduce((sum, flag) => sum | flag, 0),
  network: 'own',
  ownUts: true,
  ownIpc: true,
  shmBytes: SHM_BYTES,
  maskedPaths: privileged ? [] : undefined,
  readonlyPaths: privileged ? [] : undefined,
  seccomp: !privileged,
  noNewPrivileges: false,
  domainname: '',
});

/** @throws ClusterError naming the field that cannot be honoured, and what to do instead */
export function hostSettings(host: HostConfig, spec: ContainerSpec, cgroups: CgroupDriver): HostSettings {
  const { privileged } = spec;
  const base = defaults(privileged);
  const security = securityOf(host.securityOptions);
  const resources = host.resources;
  const nodes = resources?.devices.flatMap((device) => deviceOf(device)) ?? [];
  const rules = resources?.deviceCgroupRules.map(deviceRule) ?? [];
  if (host.domainname !== '' && isHost(host.utsMode, 'HostConfig.UTSMode'))
    throw invalid('Config.Domainname: the host names itself in UTS mode "host": leave it out');
  let namespaces = base.namespaces;
  const network = networkKind(host.networkMode);
  if (network === 'host') namespaces &= ~NEW.net;
  if (isHost(host.pidMode, 'HostConfig.PidMode')) namespaces &= ~NEW.pid;
  if (isHost(host.utsMode, 'HostConfig.UTSMode')) namespaces &= ~NEW.uts;
  if (isHost(host.ipcMode, 'HostConfig.IpcMode')) namespaces &= ~NEW.ipc;
  // On cgroup v1 Docker's default is the host's; ours is a private one everywhere, which shows less.
  if (isHost(host.cgroupnsMode, 'HostConfig.CgroupnsMode')) namespaces &= ~NEW.cgroup;
  return {
    ...base,
    limits: resources ? limitsOf(resources, cgroups) : {},
    devices: privileged ? base.devices : [...base.devices, ...nodes.map(({ rule }) => rule), ...rules],
    deviceNodes: nodes.map(({ record }) => record),
    namespaces,
    network,
    ownUts: (namespaces & NEW.uts) !== 0,
    ownIpc: (namespaces & NEW.ipc) !== 0,
    shmBytes: host.shmSizeBytes || SHM_BYTES,
    maskedPaths: security.systemPaths ? pathsOr(host.maskedPaths, base.maskedPaths) : [],
    readonlyPaths: security.systemPaths ? pathsOr(host.readonlyPaths, base.readonlyPaths) : [],
    seccomp: base.seccomp && security.seccomp,
    noNewPrivileges: spec.noNewPrivileges || security.noNewPrivileges,
    domainname: host.domainname,
  };
}

const pathsOr = (own: readonly string[], otherwise: readonly string[] | undefined) =>
  own.length > 0 ? own.map((path) => path.replace(/^\/+/, '')) : otherwise;

export function networkKind(mode: string): NetworkKind {
  if (mode === 'host' || mode === 'none') return mode;
  if (mode.startsWith('container:')) throw joins('HostConfig.NetworkMode', mode);
  return 'own';
}

/** Docker's words: empty and `private` are its own; `shareable` may be joined, which nobody can yet. */
function isHost(mode: string, field: string): boolean {
  if (mode === 'host') return true;
  if (['', 'private', 'shareable', 'none'].includes(mode)) return false;
  if (mode.startsWith('container:')) throw joins(field, mode);
  throw invalid(`${field}: "${mode}" is not known: use host or private`);
}

const joins = (field: string, mode: string) =>
  new ClusterError(
    'unimplemented',
    `${field}: "${mode}" cannot be honoured yet: a container cannot join another one's namespace`,
  );

/** `security-opt`, as Docker writes it: NAME=VALUE, the old form NAME:VALUE, or a bare no-new-privileges. */
function securityOf(options: readonly string[]) {
  let seccomp = true;
  let systemPaths = true;
  let noNewPrivileges = false;
  for (const option of options) {
    const [, name = '', value = ''] = /^([^=:]+)[=:]?(.*)$/s.exec(option) ?? [];
    if (name === 'no-new-privileges') noNewPrivileges = value === '' || value === 'true';
    else if (name === 'systempaths' && value === 'unconfined') systemPaths = false;
    else if (name === 'seccomp' && (value === 'unconfined' || value === 'builtin'))
      seccomp = value === 'builtin';
    else if (name === 'apparmor' && value === 'unconfined') continue;
    else if (name === 'label' && value === 'disable') continue;
    else
      throw new ClusterError(
        'unimplemented',
        `HostConfig.SecurityOpt: "${option.slice(0, 60)}" cannot be honoured yet: use no-new-privileges, ` +
          'seccomp=unconfined, apparmor=unconfined, label=disable or systempaths=unconfined',
      );
  }
  return { seccomp, systemPaths, noNewPrivileges };
}

function limitsOf(resources: ContainerResources, cgroups: CgroupDriver): GroupLimits {
  const { memoryBytes, memorySwapBytes, memorySwappiness, pidsLimit } = resources;
  if (memorySwapBytes > 0 && memorySwapBytes < memoryBytes)
    throw invalid(
      'HostConfig.MemorySwap: it counts memory and swap together: make it at least HostConfig.Memory',
    );
  if (memorySwapBytes > 0 && memoryBytes === 0)
    throw invalid('HostConfig.MemorySwap: set HostConfig.Memory too');
  if (resources.nanoCpus > 0 && (resources.cpuQuotaUs > 0 || resources.cpuPeriodUs > 0))
    throw invalid('HostConfig.NanoCpus: it says the same as CpuQuota and CpuPeriod: set one of them');
  if (cgroups.mode === 'v2' && memorySwappiness >= 0)
    throw invalid('HostConfig.MemorySwappiness: cgroup v2 has no swappiness of a group: leave it out');
  if (cgroups.mode === 'v2' && resources.oomKillDisable)
    throw invalid('HostConfig.OomKillDisable: cgroup v2 cannot do without the OOM killer: leave it out');
  return {
    ...(resources.nanoCpus ? { nanoCpus: resources.nanoCpus } : {}),
    ...(resources.cpuShares ? { cpuShares: resources.cpuShares } : {}),
    ...(resources.cpuQuotaUs > 0 ? { cpuQuotaUs: resources.cpuQuotaUs } : {}),
    ...(resources.cpuPeriodUs > 0 ? { cpuPeriodUs: resources.cpuPeriodUs } : {}),
    ...(resources.cpusetCpus ? { cpusetCpus: resources.cpusetCpus } : {}),
    ...(resources.cpusetMems ? { cpusetMems: resources.cpusetMems } : {}),
    ...(memoryBytes ? { memoryBytes } : {}),
    ...(memorySwapBytes ? { memorySwapBytes } : {}),
    ...(memorySwappiness >= 0 ? { memorySwappiness } : {}),
    ...(resources.memoryReservationBytes ? { memoryReservationBytes: resources.memoryReservationBytes } : {}),
    ...(resources.oomKillDisable ? { oomKillDisable: true } : {}),
    ...(pidsLimit > 0 ? { pids: pidsLimit } : {}),
    ...(resources.blkioWeight ? { blkioWeight: resources.blkioWeight } : {}),
    ...(resources.blkioLimits.length > 0 ? { block: resources.blkioLimits.map(blockLimit) } : {}),
  };
}

const S_IFMT = 0o170000;
const S_IFBLK = 0o060000;
const S_IFCHR = 0o020000;

/** Numbers of a device as stat(2) gives them; see makedev(3). */
const majorOf = (rdev: number): number => ((rdev >>> 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & ~0xfff);
const minorOf = (rdev: number): number => (rdev & 0xff) | ((rdev >>> 12) & ~0xff);

function statDevice(path: string, field: string) {
  try {
    return statSync(path);
  } catch (error) {
    throw invalid(
      `${field}: error gathering device information while adding device "${path}": ${errorText(error)}`,
    );
  }
}

function blockLimit({ kind, path, rate }: BlkioLimit): BlockLimit {
  if (kind === 'UNRECOGNIZED') throw invalid(`HostConfig.Blkio: a limit of "${path}" is of an unknown kind`);
  return { kind, rate, ...blockDevice(path) };
}

function blockDevice(path: string): { readonly major: number; readonly minor: number } {
  const { mode, rdev } = statDevice(path, 'HostConfig.Blkio');
  if ((mode & S_IFMT) !== S_IFBLK) throw invalid(`HostConfig.Blkio: "${path}" is not a block device`);
  return { major: majorOf(rdev), minor: minorOf(rdev) };
}

function deviceOf(mapping: DeviceMapping): { readonly rule: DeviceRule; readonly record: SpecRecord }[] {
  const { pathOnHost, permissions } = mapping;
  const { mode, rdev } = statDevice(pathOnHost, 'HostConfig.Devices');
  const kind = mode & S_IFMT;
  if (kind !== S_IFCHR && kind !== S_IFBLK)
    throw invalid(`HostConfig.Devices: "${pathOnHost}" is not a device`);
  const access = permissions || 'rwm';
  if (!/^[rwm]+$/.test(access))
    throw invalid(`HostConfig.Devices: permissions "${access}": use letters of rwm`);
  const [major, minor] = [majorOf(rdev), minorOf(rdev)];
  const path = (mapping.pathInContainer || pathOnHost).replace(/^\/+/, '');
  return [
    {
      rule: { type: kind === S_IFCHR ? 'c' : 'b', major, minor, access },
      record: { name: 'DEVICE', numbers: [mode & 0o177777, major, minor, 0], strings: [path] },
    },
  ];
}

/** "c 1:3 rwm", with * for any number. Source: Docker, --device-cgroup-rule. */
function deviceRule(text: string): DeviceRule {
  const match = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text.trim());
  if (!match) throw invalid(`HostConfig.DeviceCgroupRules: "${text}": write it as "c 1:3 rwm"`);
  const [, type, major, minor, access] = match;
  return {
    type: type as DeviceRule['type'],
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access: access!,
  };
}
