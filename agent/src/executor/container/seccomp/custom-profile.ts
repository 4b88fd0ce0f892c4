import { errorText, invalid } from '@tessera/shared/errors';
import { z } from 'zod';

// A profile as users of Docker write it. Sources: moby/profiles, seccomp/seccomp.go; OCI runtime specification,
// config-linux.md, Seccomp.

const ACTIONS = [
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
] as const;
const OPERATORS = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const;
const FLAGS = [
  'SECCOMP_FILTER_FLAG_TSYNC',
  'SECCOMP_FILTER_FLAG_LOG',
  'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
] as const;
const ERRNO_MAX = 4_095;
/** A call has six arguments. */
const INDEX_MAX = 5;

const action = z.enum(ACTIONS, {
  error: ({ input }) =>
    input === 'SCMP_ACT_NOTIFY'
      ? 'SCMP_ACT_NOTIFY needs a listener, which containers cannot have: use another action'
      : `must be one of ${ACTIONS.join(', ')}`,
});
const names = z.array(z.string()).nullish();
const errno = z.int().min(0).max(ERRNO_MAX).nullish();
/** What JSON can hold exactly. */
const value = z.int().min(0).default(0);
const selection = z
  .object({
    caps: names,
    arches: names,
    minKernel: z
      .string()
      .regex(/^\d+\.\d+$/, 'must be like 4.8')
      .nullish(),
  })
  .nullish();

const rule = z.object({
  name: z.string().nullish(),
  names,
  action,
  errnoRet: errno,
  args: z
    .array(
      z.object({
        index: z.int().min(0).max(INDEX_MAX),
        value,
        valueTwo: value,
        op: z.enum(OPERATORS, `must be one of ${OPERATORS.join(', ')}`),
      }),
    )
    .nullish(),
  includes: selection,
  excludes: selection,
});

const profile = z.object({
  defaultAction: action,
  defaultErrnoRet: errno,
  architectures: names,
  archMap: z.array(z.object({ architecture: z.string(), subArchitectures: names })).nullish(),
  flags: z.array(z.enum(FLAGS, `must be one of ${FLAGS.join(', ')}`)).nullish(),
  listenerPath: z.literal('', 'cannot be honoured: leave it out').nullish(),
  syscalls: z.array(rule).nullish(),
});

export type SeccompProfile = z.output<typeof profile>;
export type ProfileRule = z.output<typeof rule>;
export type ProfileAction = (typeof ACTIONS)[number];
export type ProfileOperator = (typeof OPERATORS)[number];

/** @throws ClusterError `invalidArgument` that names the field */
export function parseProfile(text: string): SeccompProfile {
  const refused = (why: string) => invalid(`Decoding seccomp profile failed: ${why}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refused(errorText(error));
  }
  const parsed = profile.safeParse(json);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw refused(`${fieldName(path)}: ${message}`);
  }
  if (parsed.data.architectures?.length && parsed.data.archMap?.length)
    throw refused(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  for (const { name, names } of parsed.data.syscalls ?? [])
    if (name && names?.length)
      throw refused(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
      );
  return parsed.data;
}

/** `syscalls[3].action` */
function fieldName(path: readonly PropertyKey[]): string {
  return (
    path
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
      .join('')
      .slice(1) || 'profile'
  );
}
