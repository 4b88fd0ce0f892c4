import { SECCOMP_ARCHES } from '@tessera/native';
import { buildSeccompFilter } from '@tessera/native/testing';
import { describe, expect, test } from 'vitest';
import { containerCapabilities } from '../capabilities.js';
import { defaultFilter } from './filter.js';
import { defaultRules, LAST_CALL, YOUNG_CALLS } from './profile.js';
import { ALLOW, type Call, errnoOf as errno, runFilter as run, X64 } from './testing/run-filter.js';

const EPERM = 1;
const ENOSYS = 38;

describe.runIf(process.arch === 'x64')('the default filter', () => {
  const usual = defaultFilter(containerCapabilities({ add: [], drop: [], privileged: false }));
  const admin = defaultFilter(containerCapabilities({ add: ['SYS_ADMIN'], drop: [], privileged: false }));

  test.each(['read', 'mmap', 'ioctl', 'execve', 'time', 'clock_nanosleep', 'ptrace'] as const)(
    '%s is allowed',
    (name) => {
      expect(run(usual, { nr: X64[name] })).toBe(ALLOW);
    },
  );

  test.each([
    'mount',
    'swapon',
    'reboot',
    'init_module',
    'add_key',
    'keyctl',
    'unshare',
    'setns',
    'kexec_file_load',
    'bpf',
    'userfaultfd',
    'open_tree',
    'io_uring_setup',
  ] as const)('%s is not permitted', (name) => {
    expect(run(usual, { nr: X64[name] })).toBe(errno(EPERM));
  });

  test('SYS_ADMIN brings mount, bpf and new namespaces', () => {
    for (const name of ['mount', 'bpf', 'unshare', 'setns', 'clone3', 'open_tree'] as const)
      expect(run(admin, { nr: X64[name] })).toBe(ALLOW);
    expect(run(admin, { nr: X64.clone, args: [0x10000000] })).toBe(ALLOW);
  });

  test('clone makes threads and processes but no namespaces; clone3 makes programs fall back to it', () => {
    expect(run(usual, { nr: X64.clone, args: [0x003d0f00] })).toBe(ALLOW);
    expect(run(usual, { nr: X64.clone, args: [17] })).toBe(ALLOW);
    for (const flag of [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
      expect(run(usual, { nr: X64.clone, args: [flag | 17] })).toBe(errno(EPERM));
    expect(run(usual, { nr: X64.clone3 })).toBe(errno(ENOSYS));
  });

  test('sockets of the usual families are allowed; AF_ALG (38) and AF_VSOCK (40) are not', () => {
    for (const family of [1, 2, 10, 16, 17])
      expect(run(usual, { nr: X64.socket, args: [family] })).toBe(ALLOW);
    for (const family of [12, 19, 38, 40, 46])
      expect(run(usual, { nr: X64.socket, args: [family] })).toBe(errno(EPERM));
  });

  test('personality takes no value that weakens the address space', () => {
    expect(run(usual, { nr: X64.personality, args: [0xffffffff] })).toBe(ALLOW);
    expect(run(usual, { nr: X64.personality, args: [0x0040000] })).toBe(errno(EPERM)); // ADDR_NO_RANDOMIZE
  });

  test('calls younger than libseccomp are allowed as the profile says, also to 32-bit programs', () => {
    for (const name of ['cachestat', 'fchmodat2', 'mseal', 'futex_wait', 'removexattrat']) {
      expect(run(usual, { nr: YOUNG_CALLS[name]! })).toBe(ALLOW);
      expect(run(usual, { nr: YOUNG_CALLS[name]!, arch: SECCOMP_ARCHES.x86 })).toBe(ALLOW);
    }
    expect(run(usual, { nr: YOUNG_CALLS.lsm_set_self_attr! })).toBe(errno(EPERM));
    expect(run(admin, { nr: YOUNG_CALLS.lsm_set_self_attr! })).toBe(ALLOW);
  });

  test('calls nobody knew when the profile was written do not exist, so that libraries fall back', () => {
    expect(run(usual, { nr: LAST_CALL + 1 })).toBe(errno(ENOSYS));
    expect(run(usual, { nr: 0x3fffffff })).toBe(errno(ENOSYS));
  });

  test('another architecture’s calls are not let through', () => {
    expect(run(usual, { nr: X64.read, arch: SECCOMP_ARCHES.aarch64 })).not.toBe(ALLOW);
    expect(run(usual, { nr: 0x40000000 + X64.mount })).toBe(errno(EPERM));
    expect(run(usual, { nr: 0x40000000 + X64.read })).toBe(ALLOW);
  });

  test('our compiler and libseccomp’s agree on every call of every architecture', () => {
    const sets = [
      containerCapabilities({ add: [], drop: [], privileged: false }),
      containerCapabilities({ add: ['ALL'], drop: [], privileged: false }),
      containerCapabilities({ add: [], drop: ['ALL'], privileged: false }),
    ];
    for (const capabilities of sets) {
      const ours = defaultFilter(capabilities);
      const rules = defaultRules(capabilities, 'x64');
      const { program: theirs } = buildSeccompFilter(['x86_64', 'x86', 'x32'], rules, EPERM);
      // libseccomp 2.5.4 ends at 450; what lies above is tested by itself.
      const calls: Call[] = [];
      for (let nr = 0; nr <= 450; nr++) {
        for (const value of [
          0, 1, 11, 12, 17, 38, 40, 0x20008, 0x7e020000, 0x02000000, 0xffffffff, 0x1_0000_0001,
        ]) {
          calls.push({ nr, args: [value] }, { nr, args: [value], arch: SECCOMP_ARCHES.x86 });
        }
      }
      for (let nr = 512; nr <= 547; nr++) calls.push({ nr: X32 + nr });
      for (let nr = 0; nr <= 450; nr++)
        if (!HAS_X32_NUMBER_OF_ITS_OWN.has(nr)) calls.push({ nr: X32 + nr, args: [1] });
      const differ = calls.filter((call) => (run(ours, call) === ALLOW) !== (run(theirs, call) === ALLOW));
      // On i386 libseccomp lets every family through the direct call; ours asks there too.
      expect(differ.filter(({ nr, arch }) => !(nr === 359 && arch === SECCOMP_ARCHES.x86))).toEqual([]);
    }
  });
});

const X32 = 0x40000000;
/** Native numbers that x32 replaces by one from 512 on; the kernel has no such x32 call. Source: syscall_64.tbl. */
const HAS_X32_NUMBER_OF_ITS_OWN = new Set([
  13, 15, 16, 19, 20, 45, 46, 47, 54, 55, 59, 101, 127, 128, 129, 131, 177, 178, 180, 156, 205, 206, 209, 211,
  214, 215, 222, 236, 244, 246, 247, 273, 274, 278, 279, 295, 296, 297, 299, 307, 310, 311, 322, 327, 328,
  336,
]);
