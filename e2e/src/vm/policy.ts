import { copyFileSync, rmSync } from 'node:fs';
import { must } from '../lab/command.js';
import { ROOT } from '../lab/paths.js';

// SELinux in the machine's root file system: Debian's policy with what containers need, and a label on every file. It
// counts only where the kernel's command line switches it on.

export const POLICY_PACKAGE = 'selinux-policy-default';
/** What Debian's policy lacks. */
export const POLICY_MODULE = `${ROOT}e2e/vm/selinux/container.cil`;
const CONTEXTS = '/etc/selinux/default/contexts/files/file_contexts';

/** Of the root file system below `root`. The host on which it is made needs no SELinux. */
export async function installPolicy(root: string): Promise<void> {
  copyFileSync(POLICY_MODULE, `${root}/tmp/container.cil`);
  const commands = [
    // setfiles finds files again by /proc/self/fd.
    `mount -t proc proc ${root}/proc`,
    `chroot ${root} semodule --noreload --store default --install /tmp/container.cil`,
    `chroot ${root} setfiles -F ${CONTEXTS} /`,
  ];
  await must(['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', commands.join('\n')]);
  rmSync(`${root}/tmp/container.cil`);
}
