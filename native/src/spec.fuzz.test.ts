import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FUZZ_TIMEOUT_MS, fuzzed } from '@tessera/shared/testing';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { encodeRecords, joinSpec, type SpecRecord } from './spec.js';

const NATIVE = fileURLToPath(new URL('..', import.meta.url));

beforeAll(() => {
  execFileSync('make', ['-s', '-C', NATIVE, 'build/spec-dump'], { stdio: ['ignore', 'ignore', 'inherit'] });
}, 180_000);

const records: readonly SpecRecord[] = [
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
  { name: 'ENV', strings: ['A=1', 'B=2'] },
  { name: 'ARGS', strings: ['sh', '-c', 'true'] },
  { name: 'SECCOMP', numbers: [0], blob: Buffer.alloc(17, 1) },
];
const spec = joinSpec([encodeRecords(records)]);

/** Numbers at which lengths and counts turn over. */
const edges = fc.constantFrom(0, 1, 7, 8, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_ffff);
const change = fc.record({
  at: fc.nat(spec.length - 1),
  what: fc.oneof(
    fc.integer({ min: 0, max: 255 }).map((byte) => ({ byte })),
    edges.map((word) => ({ word })),
  ),
});

// Built with the address and undefined-behaviour sanitizers, which end it by another code than 0 and 1.
test('whatever a specification holds, the shim reads it within its bounds or refuses it', {
  timeout: FUZZ_TIMEOUT_MS,
}, () => {
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.oneof(
        { weight: 3, arbitrary: fc.constant(spec.length) },
        { weight: 1, arbitrary: fc.nat(spec.length) },
      ),
      (changes, length) => {
        const bytes = Buffer.from(spec);
        for (const { at, what } of changes) {
          if ('byte' in what) bytes[at] = what.byte;
          else bytes.writeUInt32LE(what.word, Math.min(at, spec.length - 4));
        }
        const { status, stderr } = spawnSync(`${NATIVE}build/spec-dump`, {
          input: bytes.subarray(0, length),
          encoding: 'utf8',
        });
        expect([0, 1], stderr).toContain(status);
      },
    ),
    fuzzed(100),
  );
});
