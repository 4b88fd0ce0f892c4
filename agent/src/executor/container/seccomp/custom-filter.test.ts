import { SECCOMP_ARCHES, type SeccompArgument } from '@tessera/native';
import { buildSeccompFilter } from '@tessera/native/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { customFilter } from './custom-filter.js';
import { ALLOW, errnoOf, runFilter, X64 } from './testing/run-filter.js';

// Profiles of the user's, in Docker's format.

const target = { capabilities: new Set<string>(), arch: 'x64', kernel: '6.1.0-18-amd64' } as const;
const EPERM = 1;
const ENOSYS = 38;

const filterOf = (profile: object, part: object = {}) =>
  customFilter(JSON.stringify(profile), { ...target, ...part });
const allows = (syscalls: object[], part: object = {}) =>
  filterOf({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, part).program;
const READ = { names: ['read'], action: 'SCMP_ACT_ALLOW' };

describe.runIf(process.arch === 'x64')('a profile of the user’s', () => {
  test('says what becomes of each call, and of all others', () => {
    const { program, flags } = filterOf({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 13,
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      syscalls: [
        READ,
        { name: 'mount', action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
        { names: ['ptrace'], action: 'SCMP_ACT_KILL_PROCESS' },
        { names: ['ioctl', 'no_such_call'], action: 'SCMP_ACT_LOG' },
        { names: ['unshare'], action: 'SCMP_ACT_TRAP' },
        { names: ['setns'], action: 'SCMP_ACT_TRACE' },
      ],
    });
    expect(flags).toBe(2);
    expect(runFilter(program, { nr: X64.read })).toBe(ALLOW);
    expect(runFilter(program, { nr: X64.mount })).toBe(errnoOf(95));
    expect(runFilter(program, { nr: X64.ptrace })).toBe(0x80000000);
    expect(runFilter(program, { nr: X64.ioctl })).toBe(0x7ffc0000);
    expect(runFilter(program, { nr: X64.unshare })).toBe(0x00030000);
    expect(runFilter(program, { nr: X64.setns })).toBe(0x7ff00001);
    expect(runFilter(program, { nr: X64.mmap })).toBe(errnoOf(13));
    // Younger than all that it names: libraries are to fall back.
    expect(runFilter(program, { nr: 500 })).toBe(errnoOf(ENOSYS));
  });

  test('is read for the container’s capabilities, the machine and the kernel', () => {
    const only = (part: object) => allows([{ ...READ, ...part }], { capabilities: new Set(['SYS_ADMIN']) });
    const isAllowed = (part: object) => runFilter(only(part), { nr: X64.read }) === ALLOW;
    expect(isAllowed({ includes: { caps: ['CAP_SYS_ADMIN'] } })).toBe(true);
    expect(isAllowed({ includes: { caps: ['CAP_SYS_ADMIN', 'CAP_BPF'] } })).toBe(false);
    expect(isAllowed({ excludes: { caps: ['CAP_SYS_ADMIN'] } })).toBe(false);
    expect(isAllowed({ includes: { arches: ['arm64'] } })).toBe(false);
    expect(isAllowed({ excludes: { arches: ['amd64'] } })).toBe(false);
    expect(isAllowed({ includes: { minKernel: '4.8' } })).toBe(true);
    expect(isAllowed({ includes: { minKernel: '6.2' } })).toBe(false);
    expect(isAllowed({ excludes: { minKernel: '6.1' } })).toBe(false);
  });

  test('counts for the architectures it names; what it forbids cannot be had by another’s numbers', () => {
    const forbids = (part: object) =>
      filterOf({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mount'], action: 'SCMP_ACT_ERRNO' }],
        ...part,
      }).program;
    const x32 = 0x40000000;
    const native = forbids({});
    expect(runFilter(native, { nr: X64.read })).toBe(ALLOW);
    expect(runFilter(native, { nr: X64.mount })).toBe(errnoOf(EPERM));
    expect(runFilter(native, { nr: x32 + X64.read })).toBe(0);
    expect(runFilter(native, { nr: 21, arch: SECCOMP_ARCHES.x86 })).toBe(0);
    const all = forbids({
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      ],
    });
    expect(runFilter(all, { nr: x32 + X64.mount })).toBe(errnoOf(EPERM));
    expect(runFilter(all, { nr: x32 + X64.read })).toBe(ALLOW);
    expect(runFilter(all, { nr: 21, arch: SECCOMP_ARCHES.x86 })).toBe(errnoOf(EPERM));
    expect(runFilter(all, { nr: 3, arch: SECCOMP_ARCHES.x86 })).toBe(ALLOW);
  });

  test('compares arguments of 64 bits as libseccomp does', () => {
    const words = [
      'SCMP_CMP_NE',
      'SCMP_CMP_LT',
      'SCMP_CMP_LE',
      'SCMP_CMP_EQ',
      'SCMP_CMP_GE',
      'SCMP_CMP_GT',
    ] as const;
    const ops = ['ne', 'lt', 'le', 'eq', 'ge', 'gt'] as const;
    const value = fc.oneof(fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40), fc.nat());
    const condition = fc.record({ index: fc.nat(5), op: fc.nat(6), value, valueTwo: value });
    // Each on an argument of its own: two on one are two rules.
    const conditions = fc.uniqueArray(condition, {
      minLength: 1,
      maxLength: 3,
      selector: ({ index }) => index,
    });
    fc.assert(
      fc.property(conditions, fc.array(value, { minLength: 6, maxLength: 6 }), (asked, args) => {
        const ours = allows([
          {
            ...READ,
            args: asked.map(({ op, ...rest }) => ({ ...rest, op: words[op] ?? 'SCMP_CMP_MASKED_EQ' })),
          },
        ]);
        const reference = asked.map(
          ({ index, op, value, valueTwo }): SeccompArgument =>
            ops[op] ? { index, op: ops[op], value } : { index, op: 'maskedEq', value: valueTwo, mask: value },
        );
        const theirs = buildSeccompFilter(['x86_64'], [{ name: 'read', args: reference }], EPERM).program;
        for (const tried of [
          args,
          args.map((_, index) => asked.find((one) => one.index === index)?.value ?? 0),
        ])
          expect(runFilter(ours, { nr: X64.read, args: tried }) === ALLOW).toBe(
            runFilter(theirs, { nr: X64.read, args: tried }) === ALLOW,
          );
      }),
      { numRuns: 150 },
    );
  });

  test('two conditions on one argument are alternatives, and a rule without conditions counts more', () => {
    const args = [2, 3].map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' }));
    const either = allows([{ ...READ, args }]);
    for (const value of [2, 3]) expect(runFilter(either, { nr: X64.read, args: [value] })).toBe(ALLOW);
    expect(runFilter(either, { nr: X64.read, args: [4] })).toBe(errnoOf(EPERM));
    expect(runFilter(allows([{ ...READ, args }, READ]), { nr: X64.read, args: [4] })).toBe(ALLOW);
  });

  test.each([
    ['{"defaultAction":', 'Decoding seccomp profile failed: '],
    ['{}', 'defaultAction: must be one of SCMP_ACT_KILL'],
    ['{"defaultAction":"SCMP_ACT_NOTIFY"}', 'defaultAction: SCMP_ACT_NOTIFY needs a listener'],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"]}]}',
      'syscalls[0].action: must be one of',
    ],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}',
      'syscalls[0].args[0].index: ',
    ],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"read","names":["read"],"action":"SCMP_ACT_KILL"}]}',
      "both 'name' and 'names' are specified",
    ],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}',
      "both 'architectures' and 'archMap' are specified",
    ],
  ])('%s is refused: %s', (text, message) => {
    expect(() => customFilter(text, target)).toThrow(message);
  });

  test('one that is more than the kernel takes is refused', () => {
    const numbers = Array.from({ length: 3_000 }, (_, value) => value);
    const syscalls = numbers.map((value) => ({
      ...READ,
      args: [
        { index: 0, value, op: 'SCMP_CMP_EQ' },
        { index: 1, value, op: 'SCMP_CMP_EQ' },
      ],
    }));
    expect(() => allows(syscalls)).toThrow('4096 instructions');
  });

  test('anything at all is compiled or refused, and nothing else', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(() => customFilter(text, target)).toThrow('Decoding seccomp profile failed');
      }),
      { numRuns: 100 },
    );
  });
});
