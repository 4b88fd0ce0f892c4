import type { SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { ContainerSpec, HostConfig, TaskSpec } from '@tessera/shared/model';
import type { CgroupDriver, DeviceRule, GroupLimits } from './cgroups/index.js';
import { type Device, deviceRules, hostDevices, mappedDevices } from './devices.js';
import { DEFAULT_DEVICES } from './file-tree.js';
import { type Namespaces, namespacesOf, OWN_NAMESPACES } from './namespaces.js';
import { resourceLimits } from './resource-limits.js';
import { apparmorProfile, type SecurityModules, securityOptions } from './security/index.js';

// What of a container is not in its ContainerSpec: limits, devices, namespaces, protection. For a task, the defaults.

const SHM_BYTES = 64 << 20;

/** What it depends on of this host. */
export interface SettingsHost {
  readonly cgroups: Pick<CgroupDriver, 'features'>;
  readonly cpus: number;
  readonly security: SecurityModules;
}

export interface HostSettings {
  readonly limits: GroupLimits;
  /** What of the limits this host leaves out, in Docker's words. */
  readonly warnings: readonly string[];
  readonly devices: readonly DeviceRule[];
  /** Nodes made in /dev. */
  readonly deviceNodes: readonly SpecRecord[];
  readonly namespaces: Namespaces;
  readonly shmBytes: number;
  /** Undefined: the default lists. */
  readonly maskedPaths: readonly string[] | undefined;
  readonly readonlyPaths: readonly string[] | undefined;
  readonly writableCgroups: boolean;
  /** `unconfined`, `builtin`, or a profile's JSON. */
  readonly seccomp: string;
  /** Empty: none is named. */
  readonly apparmor: string;
  /** What is asked for of SELinux's labels. */
  readonly labels: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly domainname: string;
}

export function taskSettings({ resources, container }: TaskSpec, host: SettingsHost): HostSettings {
  const { limits, reservations } = resources ?? {};
  return {
    ...defaults(container?.privileged === true, '', host),
    limits: {
      ...(limits?.nanoCpus ? { nanoCpus: limits.nanoCpus } : {}),
      ...(limits?.memoryBytes ? { memoryBytes: limits.memoryBytes } : {}),
      ...(limits?.pids ? { pids: limits.pids } : {}),
      ...(reservations?.memoryBytes ? { memoryReservationBytes: reservations.memoryBytes } : {}),
    },
    noNewPrivileges: container?.noNewPrivileges === true,
  };
}

/** A privileged one has the host's devices as they are now, and nothing is kept from it. */
const defaults = (privileged: boolean, apparmor: string, { security }: SettingsHost): HostSettings => ({
  limits: {},
  warnings: [],
  devices: privileged ? [{ type: 'a', access: 'rwm' }] : DEFAULT_DEVICES,
  deviceNodes: privileged ? hostDevices().map(({ record }) => record) : [],
  namespaces: OWN_NAMESPACES,
  shmBytes: SHM_BYTES,
  maskedPaths: privileged ? [] : undefined,
  readonlyPaths: privileged ? [] : undefined,
  writableCgroups: privileged,
  seccomp: privileged ? 'unconfined' : 'builtin',
  apparmor: apparmorProfile(apparmor, privileged, security),
  labels: [],
  noNewPrivileges: false,
  domainname: '',
});

/** @throws ClusterError naming what cannot be honoured, and what to do instead */
export function hostSettings(config: HostConfig, spec: ContainerSpec, host: SettingsHost): HostSettings {
  const { privileged } = spec;
  const { resources } = config;
  const options = securityOptions(config.securityOptions);
  const base = defaults(privileged, options.apparmor, host);
  const mapped = resources?.devices.flatMap(mappedDevices) ?? [];
  const namespaces = namespacesOf(config);
  if (config.domainname !== '' && !namespaces.ownUts)
    throw invalid('Config.Domainname: the host names itself in UTS mode "host": leave it out');
  const paths = (own: readonly string[], otherwise: readonly string[] | undefined) =>
    options.systemPaths ? pathsOr(own, otherwise) : [];
  return {
    ...base,
    ...(resources
      ? resourceLimits(resources, config.kernelMemoryTcpBytes, {
          features: host.cgroups.features,
          cpus: host.cpus,
        })
      : {}),
    devices: privileged ? base.devices : [...base.devices, ...rulesOf(mapped, resources?.deviceCgroupRules)],
    deviceNodes: [...mapped.map(({ record }) => record), ...base.deviceNodes],
    namespaces,
    shmBytes: config.shmSizeBytes || SHM_BYTES,
    maskedPaths: paths(config.maskedPaths, base.maskedPaths),
    readonlyPaths: paths(config.readonlyPaths, base.readonlyPaths),
    writableCgroups: privileged || options.writableCgroups,
    seccomp: privileged ? 'unconfined' : options.seccomp,
    labels: options.labels,
    noNewPrivileges: spec.noNewPrivileges || options.noNewPrivileges,
    domainname: config.domainname,
  };
}

const rulesOf = (devices: readonly Device[], asked: readonly string[] = []): DeviceRule[] => [
  ...devices.map(({ rule }) => rule),
  ...asked.flatMap(deviceRules),
];

const pathsOr = (own: readonly string[], otherwise: readonly string[] | undefined) =>
  own.length > 0 ? own.map((path) => path.replace(/^\/+/, '')) : otherwise;
