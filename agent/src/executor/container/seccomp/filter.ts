import { buildSeccompFilter, SECCOMP_ARCHES, type SeccompArch } from '@tessera/native';
import { defaultRules, LAST_CALL, YOUNG_CALLS } from './profile.js';

const EPERM = 1;
const ENOSYS = 38;
/** The native one first, then those whose programs its kernel runs too. */
const ARCHES: Readonly<Record<'x64' | 'arm64', readonly SeccompArch[]>> = {
  x64: ['x86_64', 'x86', 'x32'],
  arm64: ['aarch64', 'arm'],
};

const filters = new Map<string, Uint8Array>();

/** The default profile's filter for a set of capabilities, built once each. */
export function defaultFilter(capabilities: ReadonlySet<string>): Uint8Array {
  const key = [...capabilities].sort().join(' ');
  let filter = filters.get(key);
  if (!filter) {
    filter = compile(capabilities);
    filters.set(key, filter);
  }
  return filter;
}

function compile(capabilities: ReadonlySet<string>): Uint8Array {
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const rules = defaultRules(capabilities, arch);
  const { program, unknown } = buildSeccompFilter(ARCHES[arch], rules, EPERM);
  const allowed = unknown.flatMap((name) => YOUNG_CALLS[name] ?? []);
  return Buffer.concat([prelude(ARCHES[arch].slice(0, 2), allowed), program]);
}

// Classic BPF. Source: linux/filter.h, linux/seccomp.h.
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_ABOVE = 0x25;
const JUMP_AT_LEAST = 0x35;
const RETURN = 0x06;
const NUMBER_AT = 0;
const ARCH_AT = 4;
const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;
/** Numbers of x32 calls have this bit, and numbers above it are no new calls. */
const X32 = 0x40000000;

/**
 * Goes before libseccomp's program: allows calls that it is too old to know, and answers ENOSYS to those nobody knows
 * yet, where EPERM would make a C library give up instead of falling back.
 */
export function prelude(arches: readonly SeccompArch[], allowed: readonly number[]): Buffer {
  type Instruction = [code: number, jumpTrue: number, jumpFalse: number, value: number];
  const tests: Instruction[] = [
    [LOAD, 0, 0, NUMBER_AT],
    ...[...allowed].map((number, index): Instruction => [JUMP_EQUAL, allowed.length - index, 0, number]),
    // To the ENOSYS behind the ALLOW, or past both.
    [JUMP_ABOVE, 1, 2, LAST_CALL],
    [RETURN, 0, 0, ALLOW],
    [RETURN, 0, 0, ERRNO | ENOSYS],
  ];
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCH_AT],
    // To the tests when it is one of ours, past them otherwise.
    ...arches.map(
      (arch, index): Instruction => [
        JUMP_EQUAL,
        arches.length - 1 - index,
        index === arches.length - 1 ? tests.length + 1 : 0,
        SECCOMP_ARCHES[arch],
      ],
    ),
    tests[0]!,
    [JUMP_AT_LEAST, tests.length - 1, 0, X32],
    ...tests.slice(1),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(([code, jumpTrue, jumpFalse, value], index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
  });
  return bytes;
}
