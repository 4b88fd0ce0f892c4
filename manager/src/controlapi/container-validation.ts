import { constants } from 'node:os';
import { HOST_GATEWAY } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import type { ContainerSpec, LogDriver, Mount } from '@tessera/shared/model';
import { assertVolumeName, localMount } from '@tessera/shared/volumes';
import ipaddr from 'ipaddr.js';

// What an agent would refuse when a task has reached it is refused here, where the user still listens.

const HOSTNAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;
const HOSTNAME_LENGTH_MAX = 63;
const ULIMITS = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
);
/** What a container's own namespaces hold. */
const SYSCTL =
  /^(net\.[\w.\-/]+|fs\.mqueue\.\w+|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced))$/;
/** Source: capabilities(7), linux/capability.h. */
const CAPABILITIES = new Set(
  (
    'ALL CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE ' +
    'NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE ' +
    'SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE ' +
    'AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF ' +
    'CHECKPOINT_RESTORE'
  ).split(' '),
);
const PROPAGATIONS = new Set(['', 'private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']);
const LOG_DRIVERS = new Set(['json-file', 'local', 'none']);
const LOG_OPTIONS: Readonly<Record<string, { readonly values: RegExp; readonly says: string }>> = {
  'max-size': { values: /^[1-9]\d*[bkmg]?b?$/i, says: 'a size such as 10m' },
  'max-file': { values: /^([1-9]|[1-5]\d|6[0-4])$/, says: 'from 1 to 64' },
  // What dockerd does by default.
  mode: { values: /^blocking$/, says: 'blocking: output is never dropped before it is in the log' },
  compress: { values: /^false$/, says: 'false: rotated parts are not compressed' },
};
const SIGNAL_MAX = 64;

/** @throws ClusterError `invalidArgument` that names the field and the mend */
export function validateContainer(spec: ContainerSpec): void {
  for (const entry of spec.env) {
    if (!/^[^=\0]/.test(entry) || entry.includes('\0')) {
      throw invalid(`ContainerSpec.Env: invalid environment variable '${entry}'; write NAME=VALUE`);
    }
  }
  if (spec.hostname !== '' && (spec.hostname.length > HOSTNAME_LENGTH_MAX || !HOSTNAME.test(spec.hostname))) {
    throw invalid(
      `ContainerSpec.Hostname: '${spec.hostname}' is no host name of at most ${HOSTNAME_LENGTH_MAX} characters`,
    );
  }
  if (spec.dir !== '' && !spec.dir.startsWith('/')) {
    throw invalid(
      `ContainerSpec.Dir: the working directory '${spec.dir}' is invalid, it needs to be an absolute path`,
    );
  }
  if (!isSignal(spec.stopSignal)) {
    throw invalid(
      `ContainerSpec.StopSignal: unknown signal '${spec.stopSignal}'; write it as SIGTERM, TERM or 15`,
    );
  }
  if (Math.abs(spec.oomScoreAdj) > 1000) {
    throw invalid(`ContainerSpec.OomScoreAdj: ${spec.oomScoreAdj} must be from -1000 to 1000`);
  }
  const targets = new Set<string>();
  for (const mount of spec.mounts) validateMount(mount, targets);
  validateNames(spec);
  validateKernelLimits(spec);
}

function validateNames(spec: ContainerSpec): void {
  for (const address of spec.dnsServers) {
    if (!ipaddr.isValid(address)) throw invalid(`DNSConfig.Nameservers: '${address}' is no IP address`);
  }
  for (const line of spec.hosts) {
    const [address = '', ...names] = line.trim().split(/\s+/);
    const isAddress = ipaddr.isValid(address) || address === HOST_GATEWAY;
    if (line.includes('\n') || !isAddress || names.length === 0) {
      throw invalid(`ContainerSpec.Hosts: '${line}' is not of the form IP HOST`);
    }
  }
  for (const word of [...spec.dnsSearch, ...spec.dnsOptions]) {
    if (!/^[\x21-\x7e]+$/.test(word)) throw invalid(`DNSConfig: '${word}' must be one word`);
  }
}

function validateKernelLimits(spec: ContainerSpec): void {
  for (const { name, soft, hard } of spec.ulimits) {
    if (!ULIMITS.has(name)) {
      throw invalid(`ContainerSpec.Ulimits: unknown name '${name}'; there are ${[...ULIMITS].join(', ')}`);
    }
    if (hard >= 0 && (soft > hard || soft < 0)) {
      throw invalid(
        `ContainerSpec.Ulimits: ${name}: the soft limit ${soft} must not exceed the hard limit ${hard}`,
      );
    }
  }
  for (const key of Object.keys(spec.sysctls)) {
    if (!SYSCTL.test(key) || key.includes('..')) {
      throw invalid(
        `ContainerSpec.Sysctls: '${key}' is the host's own, not the container's; only net.*, fs.mqueue.* and kernel IPC can be set`,
      );
    }
  }
  for (const name of [...spec.capAdd, ...spec.capDrop]) {
    if (!isCapability(name.toUpperCase().replace(/^CAP_/, ''))) {
      throw invalid(`ContainerSpec.CapabilityAdd: '${name}' is no capability; write it as CAP_NET_ADMIN`);
    }
  }
}

/** @param name in capitals, without `CAP_` */
export const isCapability = (name: string): boolean => CAPABILITIES.has(name);

function isSignal(text: string): boolean {
  if (text === '') return true;
  if (/^\d+$/.test(text)) return Number(text) >= 1 && Number(text) <= SIGNAL_MAX;
  const name = text.toUpperCase().replace(/^SIG/, '');
  return /^RT(MIN\+|MAX-)\d{1,2}$|^RT(MIN|MAX)$/.test(name) || Object.hasOwn(constants.signals, `SIG${name}`);
}

function validateMount(mount: Mount, targets: Set<string>): void {
  const { type, source, target } = mount;
  if (!target.startsWith('/') || target === '/') {
    throw invalid(`ContainerSpec.Mounts: the target '${target}' must be an absolute path other than /`);
  }
  if (targets.has(target)) throw invalid(`ContainerSpec.Mounts: duplicate mount point ${target}`);
  targets.add(target);

  if (type === 'bind' && !source.startsWith('/')) {
    throw invalid(`ContainerSpec.Mounts: the bind source '${source}' of ${target} must be an absolute path`);
  }
  if (type === 'tmpfs' && source !== '') {
    throw invalid(`ContainerSpec.Mounts: a tmpfs has no source; leave out '${source}' of ${target}`);
  }
  if (type === 'volume') {
    if (source !== '') assertVolumeName(source);
    localMount(mount.volumeMount?.options ?? {});
  }
  if (!PROPAGATIONS.has(mount.propagation)) {
    throw invalid(
      `ContainerSpec.Mounts: propagation '${mount.propagation}' of ${target} is not known; use rprivate, rslave or rshared`,
    );
  }
}

/** @throws ClusterError `invalidArgument` */
export function validateLogDriver(driver: LogDriver | undefined): void {
  if (!driver) return;
  const { name } = driver;
  if (name !== '' && !LOG_DRIVERS.has(name))
    throw invalid(`LogDriver.Name: '${name}' is not supported yet; there are ${[...LOG_DRIVERS].join(', ')}`);
  for (const [key, value] of Object.entries(driver.options)) {
    const rule = name === 'none' ? undefined : LOG_OPTIONS[key];
    if (!rule)
      throw invalid(
        name === 'none'
          ? `LogDriver.Options: '${key}' means nothing to the driver none`
          : `LogDriver.Options: '${key}' is not supported yet; there are ${Object.keys(LOG_OPTIONS).join(', ')}`,
      );
    if (!rule.values.test(value)) throw invalid(`LogDriver.Options.${key}: '${value}' must be ${rule.says}`);
  }
}
