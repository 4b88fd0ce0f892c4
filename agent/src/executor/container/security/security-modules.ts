import { hasApparmor } from './apparmor.js';
import { readSelinux, type Selinux, type SelinuxMode } from './selinux/policy.js';

/** What of the host's security modules containers can have. */
export interface SecurityModules {
  readonly apparmor: boolean;
  readonly selinux: Selinux;
}

/** What this host's kernel has switched on, as far as the operator lets containers have it. */
export const readSecurityModules = (selinux: SelinuxMode): SecurityModules => ({
  apparmor: hasApparmor(),
  selinux: readSelinux(selinux),
});
