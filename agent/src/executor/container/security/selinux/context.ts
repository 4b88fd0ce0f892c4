// A label of SELinux: user:role:type, and with most policies :level, such as s0:c1,c2.

export interface SelinuxContext {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  /** Empty where the policy has no levels. */
  readonly level: string;
}

/** Undefined when it is none. */
export function parseContext(text: string): SelinuxContext | undefined {
  const [, user, role, type, level = ''] = /^([^:\s]+):([^:\s]+):([^:\s]+)(?::(\S+))?$/.exec(text) ?? [];
  return user && role && type ? { user, role, type, level } : undefined;
}

export const formatContext = ({ user, role, type, level }: SelinuxContext): string =>
  [user, role, type, ...(level === '' ? [] : [level])].join(':');

/** Categories that a policy for containers has: c0 to c1023. */
export const CATEGORY_COUNT = 1024;

/** The level that two categories make; the lower one comes first. */
export function levelOf(a: number, b: number): string {
  return `s0:c${Math.min(a, b)},c${Math.max(a, b)}`;
}

/** Of containers that are not confined: as go-selinux has it, so that no confined one is given the same. */
export const UNCONFINED_LEVEL = levelOf(CATEGORY_COUNT - 2, CATEGORY_COUNT - 1);

/** What any container may use: of no category. */
export const sharedLevel = (context: SelinuxContext): SelinuxContext =>
  context.level === '' ? context : { ...context, level: 's0' };
