import { SECCOMP_ARCHES, type SeccompArch, type SeccompArgument } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import { ALLOW, type ArchTable, type Case, compileFilter, ERRNO, type Verdict } from './bpf.js';
import { numberOf, X32_BIT } from './calls.js';
import {
  type ProfileAction,
  type ProfileOperator,
  type ProfileRule,
  parseProfile,
  type SeccompProfile,
} from './custom-profile.js';

/** What a profile is resolved for. */
export interface FilterTarget {
  /** Of the container: names without `CAP_`. */
  readonly capabilities: ReadonlySet<string>;
  readonly arch: 'x64' | 'arm64';
  /** As uname gives it. */
  readonly kernel: string;
}

export interface Filter {
  readonly program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_*. */
  readonly flags: number;
}

const EPERM = 1;
const ENOSYS = 38;
/** The kernel's bound on a program. Source: linux/bpf_common.h, BPF_MAXINSNS. */
const PROGRAM_MAX = 4_096;
const INSTRUCTION_BYTES = 8;

/** SECCOMP_RET_* of linux/seccomp.h. */
const RESULTS: Readonly<Record<ProfileAction, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: ERRNO,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: ALLOW,
};
const WITH_ERRNO: readonly ProfileAction[] = ['SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE'];
/** What calls that are younger than the profile get as well; else they get ENOSYS, so that libraries fall back. */
const PERMISSIVE: readonly ProfileAction[] = ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'];
/** For programs of an architecture that the profile does not name, as libseccomp has it. */
const OTHER_ARCH = RESULTS.SCMP_ACT_KILL;

const OPERATORS: Readonly<Record<ProfileOperator, SeccompArgument['op']>> = {
  SCMP_CMP_NE: 'ne',
  SCMP_CMP_LT: 'lt',
  SCMP_CMP_LE: 'le',
  SCMP_CMP_EQ: 'eq',
  SCMP_CMP_GE: 'ge',
  SCMP_CMP_GT: 'gt',
  SCMP_CMP_MASKED_EQ: 'maskedEq',
};
const FLAGS = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
} as const;

/** Docker's names, in profiles, of the architectures and of what is native to a machine. */
const ARCH_NAMES: Readonly<Record<string, SeccompArch>> = {
  SCMP_ARCH_X86_64: 'x86_64',
  SCMP_ARCH_X86: 'x86',
  SCMP_ARCH_X32: 'x32',
  SCMP_ARCH_AARCH64: 'aarch64',
  SCMP_ARCH_ARM: 'arm',
};
const NATIVE = {
  x64: { name: 'SCMP_ARCH_X86_64', goName: 'amd64', arch: 'x86_64' },
  arm64: { name: 'SCMP_ARCH_AARCH64', goName: 'arm64', arch: 'aarch64' },
} as const;

/**
 * The filter of a profile of the user's; undefined where it says nothing.
 *
 * @throws ClusterError `invalidArgument` that names the field
 */
export function customFilter(text: string, target: FilterTarget): Filter {
  const profile = parseProfile(text);
  const rules = (profile.syscalls ?? []).filter((rule) => applies(rule, target));
  const arches = archesOf(profile, target);
  const program = compileFilter(tablesOf(profile, rules, arches), OTHER_ARCH);
  if (program.length > PROGRAM_MAX * INSTRUCTION_BYTES)
    throw invalid(
      'seccomp profile: it comes to more than the 4096 instructions that the kernel takes: simplify it',
    );
  const flags = (profile.flags ?? []).reduce((sum, flag) => sum | FLAGS[flag], 0);
  return { program, flags };
}

/** Source: moby/profiles, seccomp/seccomp_linux.go, setupSeccomp. */
function applies({ includes, excludes }: ProfileRule, { capabilities, arch, kernel }: FilterTarget): boolean {
  const hasCap = (name: string) => capabilities.has(name.replace(/^CAP_/, ''));
  const isArch = (name: string) => name === NATIVE[arch].goName;
  if (excludes?.arches?.some(isArch) || excludes?.caps?.some(hasCap)) return false;
  if (excludes?.minKernel && isAtLeast(kernel, excludes.minKernel)) return false;
  if (includes?.arches?.length && !includes.arches.some(isArch)) return false;
  if (includes?.caps && !includes.caps.every(hasCap)) return false;
  return !includes?.minKernel || isAtLeast(kernel, includes.minKernel);
}

function isAtLeast(kernel: string, wanted: string): boolean {
  const [ours = 0, minors = 0] = kernel.split('.').map(Number.parseFloat);
  const [major = 0, minor = 0] = wanted.split('.').map(Number);
  return ours > major || (ours === major && minors >= minor);
}

/** The native one always; of the others those that this kernel can run. */
function archesOf(profile: SeccompProfile, { arch }: FilterTarget): ReadonlySet<SeccompArch> {
  const native = NATIVE[arch];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === native.name)?.subArchitectures;
  const known = [...(profile.architectures ?? []), ...(mapped ?? [])].flatMap(
    (name) => ARCH_NAMES[name] ?? [],
  );
  const kin: readonly SeccompArch[] = arch === 'x64' ? ['x86_64', 'x86', 'x32'] : ['aarch64', 'arm'];
  return new Set([native.arch, ...known.filter((name) => kin.includes(name))]);
}

function tablesOf(
  profile: SeccompProfile,
  rules: readonly ProfileRule[],
  arches: ReadonlySet<SeccompArch>,
): ArchTable[] {
  const otherwise = resultOf(profile.defaultAction, profile.defaultErrnoRet);
  const isStubbed = !PERMISSIVE.includes(profile.defaultAction) && otherwise !== (ERRNO | ENOSYS);
  return [...arches].flatMap((arch): ArchTable[] => {
    if (arch === 'x32') return []; // the kernel shows its calls as x86_64's
    const calls = callsOf(arch, rules, otherwise);
    const hasX32 = arch === 'x86_64' && arches.has('x32');
    // x32 calls that have numbers of their own lie above the native ones.
    const all = hasX32 ? new Map([...callsOf('x32', rules, otherwise), ...calls]) : calls;
    const last = Math.max(0, ...all.keys());
    return [
      {
        arch: SECCOMP_ARCHES[arch],
        calls: all,
        otherwise,
        last,
        aboveLast: isStubbed ? ERRNO | ENOSYS : otherwise,
        ...(hasX32 ? { ignoredBit: X32_BIT } : {}),
        // Else a list of what is forbidden could be passed by with the same calls under other numbers.
        ...(arch === 'x86_64' && !hasX32 ? { foreign: { from: X32_BIT, value: OTHER_ARCH } } : {}),
      },
    ];
  });
}

/** As libseccomp: a rule without conditions counts more than those with some, and the first of them for good. */
function callsOf(arch: SeccompArch, rules: readonly ProfileRule[], otherwise: number): Map<number, Verdict> {
  const calls = new Map<number, Verdict>();
  for (const rule of rules) {
    const value = resultOf(rule.action, rule.errnoRet);
    const cases = casesOf(rule, value);
    for (const name of rule.names?.length ? rule.names : [rule.name ?? '']) {
      const number = numberOf(arch, name);
      if (number === undefined) continue; // as runc: a profile may name calls of other kernels
      const before = calls.get(number);
      if (before?.kind === 'return') continue;
      if (cases.length === 0) calls.set(number, { kind: 'return', value });
      else calls.set(number, { kind: 'cases', cases: [...(before?.cases ?? []), ...cases], otherwise });
    }
  }
  return calls;
}

/** All conditions at once; but each for itself where two are on one argument, as runc has it since ever. */
function casesOf({ args }: ProfileRule, value: number): Case[] {
  const conditions = (args ?? []).map(
    (arg): SeccompArgument =>
      arg.op === 'SCMP_CMP_MASKED_EQ'
        ? { index: arg.index, op: 'maskedEq', value: both(arg.valueTwo, arg.value), mask: arg.value }
        : { index: arg.index, op: OPERATORS[arg.op], value: arg.value },
  );
  if (conditions.length === 0) return [];
  const isRepeated = new Set(conditions.map(({ index }) => index)).size < conditions.length;
  return isRepeated ? conditions.map((each) => ({ when: [each], value })) : [{ when: conditions, value }];
}

/** Bits that the mask takes away are not compared, as by libseccomp. */
const both = (value: number, mask: number): number => Number(BigInt(value) & BigInt(mask));

const resultOf = (action: ProfileAction, errno: number | null | undefined): number =>
  RESULTS[action] | (WITH_ERRNO.includes(action) ? (errno ?? EPERM) : 0);
