import { SECCOMP_ARCHES, type SeccompArch, type SeccompRule } from '@tessera/native';
import { ALLOW, type ArchTable, compileFilter, ERRNO, type Verdict } from './bpf.js';
import { numberOf, X32_BIT } from './calls.js';
import { defaultRules, LAST_CALL } from './profile.js';

const EPERM = 1;
const ENOSYS = 38;

const filters = new Map<string, Uint8Array>();

/** The default profile's filter for a set of capabilities (names without `CAP_`), built once each. */
export function defaultFilter(capabilities: ReadonlySet<string>): Uint8Array {
  const key = [...capabilities].sort().join(' ');
  let filter = filters.get(key);
  if (!filter) {
    filter = compile(capabilities);
    filters.set(key, filter);
  }
  return filter;
}

/** For the native architecture and those whose programs its kernel runs too. */
function compile(capabilities: ReadonlySet<string>): Uint8Array {
  if (process.arch === 'arm64') {
    const rules = defaultRules(capabilities, 'arm64');
    return compileFilter([tableOf('aarch64', rules), tableOf('arm', rules)], ERRNO | EPERM);
  }
  const rules = defaultRules(capabilities, 'x64');
  const native = tableOf('x86_64', rules);
  // x32 calls that have numbers of their own lie above the native ones.
  const calls = new Map([...callsOf('x32', rules), ...native.calls]);
  const both = { ...native, calls, ignoredBit: X32_BIT };
  return compileFilter([both, tableOf('x86', rules)], ERRNO | EPERM);
}

/**
 * Calls that nobody knew yet when the profile was written get ENOSYS, so that C libraries fall back; EPERM would make
 * them give up.
 */
const tableOf = (arch: SeccompArch, rules: readonly SeccompRule[]): ArchTable => ({
  arch: SECCOMP_ARCHES[arch],
  calls: callsOf(arch, rules),
  otherwise: ERRNO | EPERM,
  last: LAST_CALL,
  aboveLast: ERRNO | ENOSYS,
});

function callsOf(arch: SeccompArch, rules: readonly SeccompRule[]): Map<number, Verdict> {
  const calls = new Map<number, Verdict>();
  for (const { name, errno, args } of rules) {
    const number = numberOf(arch, name);
    if (number === undefined) continue;
    const before = calls.get(number);
    if (errno !== undefined) calls.set(number, { kind: 'return', value: ERRNO | errno });
    else if (!args) calls.set(number, { kind: 'return', value: ALLOW });
    else if (before?.kind !== 'return') {
      const cases = [...(before?.cases ?? []), { when: args, value: ALLOW }];
      calls.set(number, { kind: 'cases', cases, otherwise: ERRNO | EPERM });
    }
  }
  return calls;
}
