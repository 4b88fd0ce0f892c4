import { SECCOMP_ARCHES } from '@tessera/native';

// What a filter answers, for tests of filters.

export const ALLOW = 0x7fff0000;
export const errnoOf = (number: number): number => 0x00050000 | number;

export interface Call {
  readonly nr: number;
  readonly arch?: number;
  readonly args?: readonly number[];
}

/** What the kernel's interpreter of classic BPF would answer. Source: linux/filter.h. */
export function runFilter(filter: Uint8Array, { nr, arch = SECCOMP_ARCHES.x86_64, args = [] }: Call): number {
  const program = Buffer.from(filter);
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr >>> 0, 0);
  data.writeUInt32LE(arch >>> 0, 4);
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(BigInt(value), 16 + 8 * index);
  let accumulator = 0;
  for (let pc = 0, steps = 0; steps < 10_000; pc++, steps++) {
    const code = program.readUInt16LE(pc * 8);
    const [jumpTrue, jumpFalse, k] = [
      program[pc * 8 + 2]!,
      program[pc * 8 + 3]!,
      program.readUInt32LE(pc * 8 + 4),
    ];
    const jump = (taken: boolean) => {
      pc += taken ? jumpTrue : jumpFalse;
    };
    if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x15) jump(accumulator === k);
    else if (code === 0x25) jump(accumulator > k);
    else if (code === 0x35) jump(accumulator >= k);
    else if (code === 0x05) pc += k;
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x06) return k;
    else throw new Error(`instruction ${code.toString(16)}`);
  }
  throw new Error('the filter does not end');
}

// Numbers of x86-64. Source: linux, arch/x86/entry/syscalls/syscall_64.tbl.
export const X64 = {
  read: 0,
  mmap: 9,
  ioctl: 16,
  socket: 41,
  clone: 56,
  execve: 59,
  ptrace: 101,
  personality: 135,
  mount: 165,
  swapon: 167,
  reboot: 169,
  init_module: 175,
  time: 201,
  clock_nanosleep: 230,
  add_key: 248,
  keyctl: 250,
  unshare: 272,
  setns: 308,
  kexec_file_load: 320,
  bpf: 321,
  userfaultfd: 323,
  open_tree: 428,
  clone3: 435,
  io_uring_setup: 425,
} as const;
