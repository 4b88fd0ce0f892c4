import { invalid } from '@tessera/shared/errors';

// Mirrors native/include/spec.h, which is the definition; spec.test.ts compares the two.
export const SPEC_MAGIC = 0x43505354;
export const SPEC_VERSION = 1;
export const SPEC_SIZE_MAX = 8 << 20;
const STRINGS_MAX = 65_536;

/** name: [type, count of numbers, count of strings (undefined: any), how often it occurs]. */
export const SPEC_SCHEMA = {
  ID: [1, 0, 1, 'ONE'],
  DIRS: [2, 0, 2, 'ONE'],
  BOOT: [3, 0, 1, 'ONE'],
  LOG: [4, 2, 0, 'ONE'],
  NAMESPACES: [5, 1, 0, 'ONE'],
  HOSTNAME: [6, 0, 1, 'MAYBE'],
  SHIM_GROUP: [7, 0, 1, 'MANY'],
  GROUP: [8, 1, 2, 'MANY'],
  GROUP_FILE: [9, 1, 2, 'MANY'],
  OOM_FILE: [10, 0, 1, 'MAYBE'],
  DEVICE_RULE: [11, 4, 0, 'MANY'],
  ROOT: [12, 1, undefined, 'ONE'],
  MOUNT: [13, 2, undefined, 'MANY'],
  BIND: [14, 3, 2, 'MANY'],
  DEVICE: [15, 4, 1, 'MANY'],
  SYMLINK: [16, 0, 2, 'MANY'],
  MASK: [17, 0, 1, 'MANY'],
  READONLY: [18, 0, 1, 'MANY'],
  SYSCTL: [19, 0, 2, 'MANY'],
  RLIMIT: [20, 3, 0, 'MANY'],
  OOM_SCORE: [21, 1, 0, 'MAYBE'],
  CAPABILITIES: [22, 2, 0, 'ONE'],
  SECCOMP: [23, 1, 0, 'MAYBE'],
  USER: [24, 0, 1, 'ONE'],
  GROUPS: [25, 0, undefined, 'MAYBE'],
  CWD: [26, 0, 1, 'ONE'],
  FLAGS: [27, 1, 0, 'ONE'],
  ENV: [28, 0, undefined, 'ONE'],
  ARGS: [29, 0, undefined, 'ONE'],
  FILE: [30, 1, 1, 'MANY'],
} as const satisfies Record<string, readonly [number, number, number | undefined, 'ONE' | 'MAYBE' | 'MANY']>;

export type SpecRecordName = keyof typeof SPEC_SCHEMA;

export const SPEC_FLAGS = {
  GROUP_CLONE_INTO: 1,
  GROUP_FILE_OPTIONAL: 1,
  ROOT_READONLY: 1,
  MOUNT_FILE: 1,
  MOUNT_SYSTEM: 2,
  MOUNT_OPTIONAL: 4,
  MOUNT_RECURSIVE: 8,
  MOUNT_RELATIVE: 16,
  FLAG_NO_NEW_PRIVILEGES: 1,
  FLAG_STDIN: 2,
  FLAG_TTY: 4,
} as const;

/** One record; what its numbers and strings mean is in native/include/spec.h. */
export interface SpecRecord {
  readonly name: SpecRecordName;
  /** Unsigned 64-bit; a negative number is given as its two's complement. */
  readonly numbers?: readonly (number | bigint)[];
  readonly strings?: readonly string[];
  readonly blob?: Uint8Array;
}

const HEADER = 16;
const RECORD = 16;

/**
 * A container's spec as bytes for the shim.
 *
 * @throws ClusterError `invalidArgument` when a string holds a NUL or the whole is over 8 MiB
 */
export function encodeSpec(records: readonly SpecRecord[]): Buffer {
  const sizes = records.map(recordSize);
  const size = sizes.reduce((sum, each) => sum + each, HEADER);
  if (size > SPEC_SIZE_MAX) throw invalid(`the container's specification is ${size} bytes: at most 8 MiB`);
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(SPEC_MAGIC, 0);
  bytes.writeUInt32LE(SPEC_VERSION, 4);
  bytes.writeUInt32LE(size, 8);
  bytes.writeUInt32LE(records.length, 12);
  let offset = HEADER;
  records.forEach((record, index) => {
    writeRecord(bytes, offset, record, sizes[index]!);
    offset += sizes[index]!;
  });
  return bytes;
}

function recordSize({ name, numbers = [], strings = [], blob }: SpecRecord): number {
  const [, numberCount, stringCount] = SPEC_SCHEMA[name];
  if (numbers.length !== numberCount || (stringCount !== undefined && strings.length !== stringCount))
    throw new Error(`${name}: ${numbers.length} numbers and ${strings.length} strings`);
  if (strings.length > STRINGS_MAX) throw invalid(`${name}: more than ${STRINGS_MAX} entries`);
  let size = RECORD + 8 * numbers.length + (blob?.length ?? 0);
  for (const string of strings) {
    if (string.includes('\0')) throw invalid(`${name}: ${JSON.stringify(string)} holds a NUL character`);
    size += Buffer.byteLength(string) + 1;
  }
  return (size + 7) & ~7;
}

function writeRecord(bytes: Buffer, offset: number, record: SpecRecord, size: number): void {
  const { name, numbers = [], strings = [], blob } = record;
  bytes.writeUInt16LE(SPEC_SCHEMA[name][0], offset);
  bytes.writeUInt16LE(numbers.length, offset + 2);
  bytes.writeUInt32LE(strings.length, offset + 4);
  bytes.writeUInt32LE(blob?.length ?? 0, offset + 8);
  bytes.writeUInt32LE(size, offset + 12);
  let at = offset + RECORD;
  for (const number of numbers) at = bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(number)), at);
  if (blob) {
    bytes.set(blob, at);
    at += blob.length;
  }
  for (const string of strings) at += bytes.write(string, at) + 1;
}
