import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import {
  EXEC_SCHEMA,
  encodeRecords,
  joinSpec,
  SPEC_FLAGS,
  SPEC_MAGIC,
  SPEC_SCHEMA,
  SPEC_VERSION,
  type SpecRecord,
} from './spec.js';

const NATIVE = fileURLToPath(new URL('..', import.meta.url));
const header = readFileSync(`${NATIVE}include/spec.h`, 'utf8');

/** The machine of `npm run test:vm` has no compiler, and parsers do not care about its kernel. */
const canBuild = spawnSync('make', ['--version']).status === 0;

beforeAll(() => {
  if (!canBuild) return;
  execFileSync('make', ['-s', '-C', NATIVE, 'build/spec-dump', 'build/shim-test'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}, 180_000);

test.runIf(canBuild)(
  'everything in the shim that parses is clean under the sanitizers',
  { timeout: 180_000 },
  () => {
    const output = execFileSync(`${NATIVE}build/shim-test`, { encoding: 'utf8' });

    expect(output).toBe('all checks passed\n');
  },
);

test('both sides have the same table of records', () => {
  const table = [...header.matchAll(/^ {2}X\((\w+), (\d+), (\d+), (\w+), (\w+)\)/gm)].map(
    ([, name, type, numbers, strings, occurs]) => [
      name,
      [Number(type), Number(numbers), strings === 'SPEC_ANY' ? undefined : Number(strings), occurs],
    ],
  );

  expect(Object.fromEntries(table)).toEqual(SPEC_SCHEMA);
});

test('both sides have the same table of an exec’s records', () => {
  const text = /#define SPEC_EXEC_RECORDS\(X\)((?:.*\\\n)+.*)/.exec(header)![1]!;
  const table = [...text.matchAll(/X\((\w+), (\w+)\)/g)].map(([, name, occurs]) => [name, occurs]);

  expect(Object.fromEntries(table)).toEqual(EXEC_SCHEMA);
});

test('both sides have the same constants', () => {
  expect(Number(/SPEC_MAGIC (0x\w+)u/.exec(header)![1])).toBe(SPEC_MAGIC);
  expect(Number(/SPEC_VERSION (\d+)/.exec(header)![1])).toBe(SPEC_VERSION);
  for (const [name, value] of Object.entries(SPEC_FLAGS)) {
    const line = new RegExp(`^#define SPEC_${name} (\\d+)u`, 'm').exec(header);
    expect([name, Number(line?.[1])]).toEqual([name, value]);
  }
});

const encodeSpec = (records: readonly SpecRecord[]) => joinSpec([encodeRecords(records)]);

/** The least a spec has, and more. */
const aSpec = (...more: SpecRecord[]): SpecRecord[] => [
  { name: 'ID', strings: ['abc'] },
  { name: 'DIRS', strings: ['/data', '/run'] },
  { name: 'BOOT', strings: ['boot'] },
  { name: 'LOG', numbers: [1024, 4] },
  { name: 'NAMESPACES', numbers: [0x7c020000] },
  { name: 'ROOT', numbers: [0], strings: ['/layers/', 'top', 'bottom'] },
  { name: 'CAPABILITIES', numbers: [2n ** 64n - 1n, 0] },
  { name: 'USER', strings: [''] },
  { name: 'CWD', strings: ['/'] },
  { name: 'FLAGS', numbers: [0] },
  { name: 'ENV', strings: [] },
  { name: 'ARGS', strings: ['sh', '-c', 'echo "ü"'] },
  ...more,
];

/** As the shim reads it: type, numbers, strings, size of the blob. */
const dump = (spec: Buffer): string[] =>
  execFileSync(`${NATIVE}build/spec-dump`, { input: spec, encoding: 'utf8' }).split('\n').filter(Boolean);

test.runIf(canBuild)('the shim reads what was written here, record by record', () => {
  const records = aSpec(
    { name: 'OOM_SCORE', numbers: [-500] },
    { name: 'SECCOMP', numbers: [0], blob: Buffer.alloc(17, 1) },
    { name: 'FILE', numbers: [0o644], strings: ['hosts'], blob: Buffer.from('127.0.0.1 localhost\n') },
    { name: 'MASK', strings: ['proc/kcore'] },
    { name: 'MASK', strings: [''] },
  );

  const read = dump(encodeSpec(records));

  expect(read).toEqual(
    records.map(({ name, numbers = [], strings = [], blob }) =>
      [
        SPEC_SCHEMA[name][0],
        ...numbers.map((number) => BigInt.asUintN(64, BigInt(number))),
        ...strings,
        blob?.length ?? 0,
      ].join('\t'),
    ),
  );
});

test.runIf(canBuild)('parts made once can be joined again and again', () => {
  const whole = aSpec({ name: 'MASK', strings: ['x'.repeat(100_000)] });
  const [head, tail] = [encodeRecords(whole.slice(0, 5)), encodeRecords(whole.slice(5))];

  expect(joinSpec([head, tail])).toEqual(encodeSpec(whole));
  expect(dump(joinSpec([head, tail]))).toHaveLength(whole.length);
});

test('a NUL in a string, and a specification too large, are refused by name', () => {
  expect(() => encodeSpec(aSpec({ name: 'HOSTNAME', strings: ['a\0b'] }))).toThrow(/HOSTNAME.*NUL/);
  expect(() => encodeSpec(aSpec({ name: 'MASK', strings: ['x'.repeat(9 << 20)] }))).toThrow(/at most 8 MiB/);
});
