import { readOr } from './read-or.js';

/** Whether the kernel has it switched on. */
export const hasApparmor = (): boolean => readOr('/sys/module/apparmor/parameters/enabled').startsWith('Y');

const DEFAULT_PROFILE = 'docker-default';
const UNCONFINED = 'unconfined';

/**
 * The profile a container's commands are executed under; empty: none is named. Docker's default one counts where
 * somebody has loaded it. Source: moby, daemon/oci_linux.go, WithApparmor.
 */
export function apparmorProfile(
  asked: string,
  privileged: boolean,
  { apparmor }: { readonly apparmor: boolean },
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
