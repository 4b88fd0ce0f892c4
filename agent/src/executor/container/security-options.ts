import { readFileSync } from 'node:fs';
import { ClusterError, invalid } from '@tessera/shared/errors';

// `--security-opt`, as Docker writes it: NAME=VALUE, the old form NAME:VALUE, or a bare word.
// Source: moby, daemon/daemon_unix.go, parseSecurityOpt.

/** What of the host's security modules containers can have. */
export interface SecurityModules {
  readonly apparmor: boolean;
  readonly selinux: boolean;
}

export interface SecurityOptions {
  /** `unconfined`, `builtin`, or the JSON of a profile. */
  readonly seccomp: string;
  /** Empty: not said. */
  readonly apparmor: string;
  readonly noNewPrivileges: boolean;
  /** False: nothing is masked or made read-only. */
  readonly systemPaths: boolean;
  readonly writableCgroups: boolean;
}

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];
/** How much of an option a message repeats: profiles are long. */
const SHOWN = 60;

/** @throws ClusterError for what Docker refuses, and for labels where the host has SELinux */
export function securityOptions(
  options: readonly string[],
  modules: Pick<SecurityModules, 'selinux'>,
): SecurityOptions {
  let result: SecurityOptions = {
    seccomp: 'builtin',
    apparmor: '',
    noNewPrivileges: false,
    systemPaths: true,
    writableCgroups: false,
  };
  for (const option of options) {
    if (option === 'no-new-privileges') result = { ...result, noNewPrivileges: true };
    else if (option !== 'disable') result = withOption(result, option, modules);
  }
  return result;
}

function withOption(
  before: SecurityOptions,
  option: string,
  { selinux }: Pick<SecurityModules, 'selinux'>,
): SecurityOptions {
  const at = option.includes('=') ? option.indexOf('=') : option.indexOf(':');
  if (at < 0) throw invalid(`invalid --security-opt 1: ${quoted(option)}`);
  const [name, value] = [option.slice(0, at), option.slice(at + 1)];
  switch (name) {
    case 'seccomp':
      return { ...before, seccomp: value };
    case 'apparmor':
      return { ...before, apparmor: value };
    case 'no-new-privileges':
      return { ...before, noNewPrivileges: flag(value, option) };
    case 'writable-cgroups':
      return { ...before, writableCgroups: flag(value, option) };
    case 'label':
      // As by a dockerd without SELinux, which is what it is unless it is told otherwise.
      if (!selinux || value === 'disable') return before;
      throw new ClusterError(
        'unimplemented',
        `HostConfig.SecurityOpt: ${quoted(option)} cannot be honoured yet: SELinux labels are not set; use label=disable`,
      );
    case 'systempaths':
      if (value === 'unconfined') return { ...before, systemPaths: false };
  }
  throw invalid(`invalid --security-opt 2: ${quoted(option)}`);
}

function flag(value: string, option: string): boolean {
  if (TRUE.includes(value)) return true;
  if (FALSE.includes(value)) return false;
  throw invalid(`invalid --security-opt 2: ${quoted(option)}`);
}

const quoted = (option: string): string => JSON.stringify(option.slice(0, SHOWN));

/** What this host's kernel has switched on. */
export function readSecurityModules(): SecurityModules {
  return {
    apparmor: readOr('/sys/module/apparmor/parameters/enabled').startsWith('Y'),
    selinux: readOr('/sys/fs/selinux/enforce') !== '',
  };
}

const DEFAULT_PROFILE = 'docker-default';
const UNCONFINED = 'unconfined';

/**
 * The profile a container's commands are executed under; empty: none is named. Docker's default one counts where
 * somebody has loaded it. Source: moby, daemon/oci_linux.go, WithApparmor.
 */
export function apparmorProfile(
  asked: string,
  privileged: boolean,
  { apparmor }: Pick<SecurityModules, 'apparmor'>,
  loaded: () => string = () => readOr('/sys/kernel/security/apparmor/profiles'),
): string {
  if (!apparmor) return '';
  if (asked !== '') return asked;
  if (privileged) return UNCONFINED;
  return loaded()
    .split('\n')
    .some((line) => line.startsWith(`${DEFAULT_PROFILE} (`))
    ? DEFAULT_PROFILE
    : '';
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
