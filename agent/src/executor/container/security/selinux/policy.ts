import { closeSync, openSync, writeSync } from 'node:fs';
import { readOr } from '../read-or.js';
import { formatContext, levelOf, parseContext, type SelinuxContext, sharedLevel } from './context.js';

// What the host's policy has for containers. Source: opencontainers/selinux, go-selinux; selinux_lxc_contexts_path(3).

/** `auto`: containers have labels where the policy knows them. */
export type SelinuxMode = 'auto' | 'off';

/** What containers are labelled by. */
export interface SelinuxPolicy {
  readonly kind: 'on';
  /** Of commands, and of their files; the level is each container's own. */
  readonly process: SelinuxContext;
  readonly file: SelinuxContext;
  /** What any container may read and execute: the layers of images. */
  readonly image: string;
  /** Whether the policy has a label's user, role, type and level, together. */
  isKnown(label: string): boolean;
}

export type Selinux =
  | SelinuxPolicy
  /** The kernel has it not, or containers are not to have labels. */
  | { readonly kind: 'off' }
  /** The kernel enforces a policy that has nothing for containers. */
  | { readonly kind: 'unusable'; readonly reason: string };

const SELINUXFS = '/sys/fs/selinux';

export function readSelinux(mode: SelinuxMode): Selinux {
  if (mode === 'off' || readOr(`${SELINUXFS}/enforce`) === '') return { kind: 'off' };
  const type = /^\s*SELINUXTYPE\s*=\s*(\S+)/m.exec(readOr('/etc/selinux/config'))?.[1] ?? 'targeted';
  const path = `/etc/selinux/${type}/contexts/lxc_contexts`;
  return policyOf(readOr(path), path, isKnownToKernel);
}

/** @param text lines of `name = "label"` */
export function policyOf(text: string, path: string, isKnown: (label: string) => boolean): Selinux {
  const contexts = new Map(
    [...text.matchAll(/^\s*(\w+)\s*=\s*"([^"]*)"/gm)].map(([, name, label]) => [name, parseContext(label!)]),
  );
  const [process, file] = [contexts.get('process'), contexts.get('file')];
  if (!process || !file) return { kind: 'unusable', reason: `${path} names no labels of containers` };
  for (const context of [process, file]) {
    const label = formatContext(context.level === '' ? context : { ...context, level: levelOf(0, 1023) });
    // Debian's has names there that its own policy does not define.
    if (!isKnown(label))
      return { kind: 'unusable', reason: `the policy does not know "${label}" of ${path}` };
  }
  const own = contexts.get('ro_file');
  const image = formatContext(own && isKnown(formatContext(own)) ? own : sharedLevel(file));
  return { kind: 'on', process, file, image, isKnown };
}

function isKnownToKernel(label: string): boolean {
  const file = openSync(`${SELINUXFS}/context`, 'r+');
  try {
    writeSync(file, label);
    return true;
  } catch (error) {
    // Whoever may not ask cannot say no either: the start tells.
    return (error as NodeJS.ErrnoException).code !== 'EINVAL';
  } finally {
    closeSync(file);
  }
}
