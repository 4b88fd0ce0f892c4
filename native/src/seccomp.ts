import koffi from 'koffi';

/** AUDIT_ARCH_* of linux/audit.h; x32 is libseccomp's own, the kernel shows it as x86_64 with a bit set. */
export const SECCOMP_ARCHES = {
  x86_64: 0xc000003e,
  x86: 0x40000003,
  x32: 0x4000003e,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
} as const;
export type SeccompArch = keyof typeof SECCOMP_ARCHES;

/** A condition on one argument, of 64 bits: its value, or for `maskedEq` its value after the mask. */
export interface SeccompArgument {
  readonly index: number;
  readonly op: 'ne' | 'lt' | 'le' | 'eq' | 'ge' | 'gt' | 'maskedEq';
  readonly value: number;
  readonly mask?: number;
}

/** What becomes of a system call; without `errno` it is allowed. Several rules of one name: any of them. */
export interface SeccompRule {
  readonly name: string;
  readonly errno?: number;
  readonly args?: readonly SeccompArgument[];
}

let resolve: ((arch: number, name: string) => number) | undefined;

/**
 * A call's number on an architecture, as libseccomp knows it; undefined where there is no such call, and where
 * the library is older than the call.
 */
export function syscallNumber(arch: SeccompArch, name: string): number | undefined {
  resolve ??= koffi
    .load('libseccomp.so.2')
    .func(
      'int seccomp_syscall_resolve_name_arch(uint32 arch, const char *name)',
    ) as unknown as typeof resolve;
  const number = resolve!(SECCOMP_ARCHES[arch], name);
  // Below zero: unknown, or one of the library's pseudo numbers for a call that this architecture lacks.
  return number < 0 ? undefined : number;
}
