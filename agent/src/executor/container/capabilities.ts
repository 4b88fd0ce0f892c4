import { invalid } from '@tessera/shared/errors';

/** Linux capabilities in the order of their numbers. Source: linux/capability.h. */
const NAMES = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT ' +
  'SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP ' +
  'MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ');

/** Docker's default set. Source: moby, oci/caps/defaults.go. */
const DEFAULT =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'.split(
    ' ',
  );

function numberOf(name: string, field: string): number {
  const number = NAMES.indexOf(name.toUpperCase().replace(/^CAP_/, ''));
  if (number < 0)
    throw invalid(`${field}: unknown capability "${name}": write it as NET_ADMIN or CAP_NET_ADMIN`);
  return number;
}

/**
 * The capabilities of a container's root user, as names without `CAP_`.
 *
 * `ALL` in `add` means all but those in `drop`; `ALL` in `drop` means none but those in `add`.
 * @throws ClusterError `invalidArgument` for an unknown name
 */
export function containerCapabilities(options: {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
}): ReadonlySet<string> {
  if (options.privileged) return new Set(NAMES);
  const isAll = (name: string) => name.toUpperCase() === 'ALL';
  const added = options.add.filter((name) => !isAll(name)).map((name) => NAMES[numberOf(name, 'cap-add')]!);
  const dropped = options.drop
    .filter((name) => !isAll(name))
    .map((name) => NAMES[numberOf(name, 'cap-drop')]!);
  const base = options.add.some(isAll) ? NAMES : options.drop.some(isAll) ? [] : DEFAULT;
  const result = new Set(base.filter((name) => !dropped.includes(name)));
  for (const name of added) result.add(name);
  return result;
}

/** As the bits of a 64-bit mask. Capabilities above the host's own are left out by `available`. */
export const capabilityMask = (names: ReadonlySet<string>, available = ~0n): bigint =>
  [...names].reduce((mask, name) => mask | (1n << BigInt(NAMES.indexOf(name))), 0n) & available;

/** The `CapPrm` line of /proc/PID/status: what we have ourselves is the most we can hand on. */
export function parsePermitted(status: string): bigint {
  const line = /^CapPrm:\s*([0-9a-f]+)$/m.exec(status);
  return line ? BigInt(`0x${line[1]}`) : 0n;
}
