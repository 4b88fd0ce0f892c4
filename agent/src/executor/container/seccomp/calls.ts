import { type SeccompArch, syscallNumber } from '@tessera/native';
import { X86_DIRECT, YOUNG_CALLS } from './profile.js';

/** Set in the number of an x32 call. */
export const X32_BIT = 0x40000000;

/** A call's number on an architecture, without x32's bit; undefined where it has no such call. */
export function numberOf(arch: SeccompArch, name: string): number | undefined {
  const known =
    syscallNumber(arch, name) ?? YOUNG_CALLS[name] ?? (arch === 'x86' ? X86_DIRECT[name] : undefined);
  return known === undefined ? undefined : known & ~X32_BIT;
}
