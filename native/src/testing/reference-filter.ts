import { closeSync, fstatSync, readSync } from 'node:fs';
import { ClusterError } from '@tessera/shared/errors';
import koffi from 'koffi';
import { errnoName } from '../library.js';
import { SECCOMP_ARCHES, type SeccompArch, type SeccompRule } from '../seccomp.js';

// The parts of seccomp.h (libseccomp 2.5) that building a filter takes.
const ACT_ALLOW = 0x7fff0000;
const ACT_ERRNO = 0x00050000;
const ATTR_OPTIMIZE = 8;
const BINARY_TREE = 2;
const UNKNOWN = -1;
const COMPARE = { ne: 1, lt: 2, le: 3, eq: 4, ge: 5, gt: 6, maskedEq: 7 } as const;

export interface SeccompFilter {
  /** `struct sock_filter[]`, 8 bytes each. */
  readonly program: Buffer;
  /** Names that the library does not know, so that they are not in the program. */
  readonly unknown: readonly string[];
}

koffi.struct('scmp_arg_cmp', { arg: 'unsigned int', op: 'int', datum_a: 'uint64', datum_b: 'uint64' });

function load() {
  const library = koffi.load('libseccomp.so.2');
  return {
    init: library.func('void *seccomp_init(uint32 action)'),
    release: library.func('void seccomp_release(void *ctx)'),
    addArch: library.func('int seccomp_arch_add(void *ctx, uint32 token)'),
    setAttribute: library.func('int seccomp_attr_set(void *ctx, int attr, uint32 value)'),
    resolve: library.func('int seccomp_syscall_resolve_name(const char *name)'),
    addRule: library.func(
      'int seccomp_rule_add_array(void *ctx, uint32 action, int syscall, unsigned int count, const scmp_arg_cmp *args)',
    ),
    export: library.func('int seccomp_export_bpf(void *ctx, int fd)'),
    memfd: koffi.load('libc.so.6').func('int memfd_create(const char *name, unsigned int flags)'),
  };
}

let library: ReturnType<typeof load> | undefined;

/**
 * Compiles an allow-list with libseccomp: what our own compiler is compared with.
 *
 * @param otherErrno what calls get that no rule names
 */
export function buildSeccompFilter(
  arches: readonly SeccompArch[],
  rules: readonly SeccompRule[],
  otherErrno: number,
): SeccompFilter {
  library ??= load();
  const lib = library;
  const unknown = new Set<string>();
  const context = lib.init(ACT_ERRNO | otherErrno);
  if (!context) throw new ClusterError('internal', 'libseccomp: no memory for a filter');
  try {
    check(lib.setAttribute(context, ATTR_OPTIMIZE, BINARY_TREE), 'optimisation', ['EINVAL']);
    for (const arch of arches) check(lib.addArch(context, SECCOMP_ARCHES[arch]), arch, ['EEXIST']);
    for (const { name, errno, args = [] } of rules) {
      const number: number = lib.resolve(name);
      if (number === UNKNOWN) {
        unknown.add(name);
        continue;
      }
      const conditions = args.map(({ index, op, value, mask = 0 }) =>
        op === 'maskedEq'
          ? { arg: index, op: COMPARE[op], datum_a: mask, datum_b: value }
          : { arg: index, op: COMPARE[op], datum_a: value, datum_b: 0 },
      );
      const action = errno === undefined ? ACT_ALLOW : ACT_ERRNO | errno;
      check(lib.addRule(context, action, number, conditions.length, conditions), name, ['EEXIST']);
    }
    return { program: exportProgram(lib, context), unknown: [...unknown] };
  } finally {
    lib.release(context);
  }
}

function exportProgram(lib: ReturnType<typeof load>, context: unknown): Buffer {
  const fd: number = lib.memfd('seccomp', 1 /* MFD_CLOEXEC */);
  if (fd < 0) throw new ClusterError('resourceExhausted', 'libseccomp: no descriptor for a filter');
  try {
    check(lib.export(context, fd), 'export', []);
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

function check(result: number, what: string, tolerated: readonly string[]): void {
  if (result < 0 && !tolerated.includes(errnoName(-result)))
    throw new ClusterError('internal', `libseccomp: ${what}: ${errnoName(-result)}`);
}
