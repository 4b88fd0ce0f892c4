import { invalid } from '@tessera/shared/errors';

// `--security-opt`, as Docker writes it: NAME=VALUE, the old form NAME:VALUE, or a bare word.
// Source: moby, daemon/daemon_unix.go, parseSecurityOpt.

export interface SecurityOptions {
  /** `unconfined`, `builtin`, or the JSON of a profile. */
  readonly seccomp: string;
  /** Empty: not said. */
  readonly apparmor: string;
  /** What of SELinux's labels is to be other than usual: `disable`, `type:NAME`, … */
  readonly labels: readonly string[];
  readonly noNewPrivileges: boolean;
  /** False: nothing is masked or made read-only. */
  readonly systemPaths: boolean;
  readonly writableCgroups: boolean;
}

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];
/** How much of an option a message repeats: profiles are long. */
const SHOWN = 60;

/** @throws ClusterError for what Docker refuses */
export function securityOptions(options: readonly string[]): SecurityOptions {
  let result: SecurityOptions = {
    seccomp: 'builtin',
    apparmor: '',
    labels: [],
    noNewPrivileges: false,
    systemPaths: true,
    writableCgroups: false,
  };
  for (const option of options) {
    if (option === 'no-new-privileges') result = { ...result, noNewPrivileges: true };
    else if (option === 'disable') result = withLabel(result, option);
    else result = withOption(result, option);
  }
  return result;
}

const withLabel = (before: SecurityOptions, label: string): SecurityOptions => ({
  ...before,
  labels: [...before.labels, label],
});

function withOption(before: SecurityOptions, option: string): SecurityOptions {
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
      return withLabel(before, value);
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
