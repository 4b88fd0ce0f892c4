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
  GROUP_FILE: [9, 1, undefined, 'MANY'],
  OOM_FILE: [10, 0, 1, 'MAYBE'],
  DEVICE_RULE: [11, 4, 0, 'MANY'],
  ROOT: [12, 1, undefined, 'ONE'],
  MOUNT: [13, 2, undefined, 'MANY'],
  BIND: [14, 3, undefined, 'MANY'],
  DEVICE: [15, 5, 1, 'MANY'],
  SYMLINK: [16, 1, 2, 'MANY'],
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
  JOIN: [31, 1, 2, 'MANY'],
  APPARMOR: [32, 0, 1, 'MAYBE'],
  LABELS: [33, 0, 4, 'MAYBE'],
} as const satisfies Record<string, readonly [number, number, number | undefined, 'ONE' | 'MAYBE' | 'MANY']>;

/** What an exec's spec consists of; what it leaves out is as in its container's spec. */
export const EXEC_SCHEMA = {
  ID: 'ONE',
  APPARMOR: 'MAYBE',
  CAPABILITIES: 'MAYBE',
  USER: 'MAYBE',
  CWD: 'MAYBE',
  FLAGS: 'ONE',
  ENV: 'ONE',
  ARGS: 'ONE',
} as const satisfies Partial<Record<keyof typeof SPEC_SCHEMA, 'ONE' | 'MAYBE'>>;

export type SpecRecordName = keyof typeof SPEC_SCHEMA;

export const SPEC_FLAGS = {
  GROUP_CLONE_INTO: 1,
  GROUP_SHARED: 2,
  GROUP_FILE_OPTIONAL: 1,
  ROOT_READONLY: 1,
  ROOT_PARTS: 2,
  FILE_KEPT: 65536,
  MOUNT_FILE: 1,
  MOUNT_SYSTEM: 2,
  MOUNT_OPTIONAL: 4,
  MOUNT_RECURSIVE: 8,
  MOUNT_RELATIVE: 16,
  MOUNT_GROUP: 32,
  MOUNT_LENT: 64,
  MOUNT_SHARED: 128,
  MOUNT_BASE: 256,
  MOUNT_PEER: 512,
  MOUNT_PROPAGATE_ALL: 1024,
  MOUNT_ATTRIBUTES_TOP: 2048,
  MOUNT_LABEL: 4096,
  MOUNT_LABEL_SHARED: 8192,
  LINK_REPLACE: 1,
  FLAG_NO_NEW_PRIVILEGES: 1,
  FLAG_STDIN: 2,
  FLAG_TTY: 4,
  FLAG_INIT: 8,
} as const;

/** One record; what its numbers and strings mean is in native/include/spec.h. */
export interface SpecRecord {
  readonly name: SpecRecordName;
  /** Unsigned 64-bit; a negative number is given as its two's complement. */
  readonly numbers?: readonly (number | bigint)[];
  readonly strings?: readonly string[];
  readonly blob?: Uint8Array;
}

/** Records in their bytes. Made once, they go into any number of specs. */
export interface SpecPart {
  readonly bytes: Buffer;
  readonly count: number;
}

const HEADER = 16;
const RECORD = 16;

/** Where records are written before they are copied out; grows, and is used over and over. */
let scratch = Buffer.alloc(64 * 1024);

/** @throws ClusterError `invalidArgument` when a string holds a NUL, or it all would be over 8 MiB */
export function encodeRecords(records: readonly SpecRecord[]): SpecPart {
  let at = 0;
  for (const record of records) at = writeRecord(at, record);
  return { bytes: Buffer.from(scratch.subarray(0, at)), count: records.length };
}

/** A container's spec for the shim, its records in the order of the parts. */
export function joinSpec(parts: readonly SpecPart[]): Buffer {
  const size = parts.reduce((sum, { bytes }) => sum + bytes.length, HEADER);
  if (size > SPEC_SIZE_MAX) throw tooLarge(size);
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(SPEC_MAGIC, 0);
  header.writeUInt32LE(SPEC_VERSION, 4);
  header.writeUInt32LE(size, 8);
  header.writeUInt32LE(
    parts.reduce((sum, { count }) => sum + count, 0),
    12,
  );
  return Buffer.concat([header, ...parts.map(({ bytes }) => bytes)], size);
}

/** Writes one record into the scratch space. Returns where the next one begins. */
function writeRecord(offset: number, { name, numbers = [], strings = [], blob }: SpecRecord): number {
  const [type, numberCount, stringCount] = SPEC_SCHEMA[name];
  if (numbers.length !== numberCount || (stringCount !== undefined && strings.length !== stringCount))
    throw new Error(`${name}: ${numbers.length} numbers and ${strings.length} strings`);
  if (strings.length > STRINGS_MAX) throw invalid(`${name}: more than ${STRINGS_MAX} entries`);
  let at = reserve(offset, RECORD + 8 * numbers.length + (blob?.length ?? 0)) + RECORD;
  for (const number of numbers) at = scratch.writeBigUInt64LE(BigInt.asUintN(64, BigInt(number)), at);
  if (blob) {
    scratch.set(blob, at);
    at += blob.length;
  }
  for (const string of strings) at = writeString(at, string, name);
  const end = reserve(at, 8) + ((8 - (at & 7)) & 7);
  scratch.fill(0, at, end);
  scratch.writeUInt16LE(type, offset);
  scratch.writeUInt16LE(numbers.length, offset + 2);
  scratch.writeUInt32LE(strings.length, offset + 4);
  scratch.writeUInt32LE(blob?.length ?? 0, offset + 8);
  scratch.writeUInt32LE(end - offset, offset + 12);
  return end;
}

function writeString(at: number, string: string, name: SpecRecordName): number {
  if (string.includes('\0')) throw invalid(`${name}: ${JSON.stringify(string)} holds a NUL character`);
  // At most three bytes for each UTF-16 unit.
  const end = reserve(at, 3 * string.length + 1) + scratch.write(string, at);
  scratch[end] = 0;
  return end + 1;
}

/** Makes room for `size` bytes at `at`; returns `at`. */
function reserve(at: number, size: number): number {
  const needed = at + size;
  if (needed <= scratch.length) return at;
  if (needed > 4 * SPEC_SIZE_MAX) throw tooLarge(needed);
  const larger = Buffer.alloc(2 ** Math.ceil(Math.log2(needed)));
  scratch.copy(larger, 0, 0, at);
  scratch = larger;
  return at;
}

const tooLarge = (size: number) => invalid(`the container's specification is ${size} bytes: at most 8 MiB`);
