import { SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import type { Mount } from '@tessera/shared/model';
import type { ContainerLabels } from '../../../../containers/runtime.js';
import { formatContext, parseContext, sharedLevel } from './context.js';
import type { Selinux } from './policy.js';

// Labels as the shim reads them.

/** Nothing where there are none: it may have been made when the kernel still had SELinux, or had it not yet. */
export function labelRecord(labels: ContainerLabels | undefined, selinux: Selinux): SpecRecord[] {
  if (!labels || selinux.kind !== 'on') return [];
  const file = parseContext(labels.mount);
  const shared = file ? formatContext(sharedLevel(file)) : labels.mount;
  return [{ name: 'LABELS', strings: [labels.process, labels.mount, shared, selinux.image] }];
}

/**
 * How what a mount leads to is labelled at a start: as the words `z` and `Z` say it, a volume as one that is shared. It
 * has no effect without labels, as with Docker.
 */
export function labelFlag({ type, mode }: Pick<Mount, 'type' | 'mode'>): number {
  const words = mode.split(',');
  if (words.includes('Z')) return SPEC_FLAGS.MOUNT_LABEL;
  return words.includes('z') || type === 'volume' ? SPEC_FLAGS.MOUNT_LABEL_SHARED : 0;
}
