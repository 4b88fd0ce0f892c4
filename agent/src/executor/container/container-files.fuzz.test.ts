import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { putArchive } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { FUZZ_TIMEOUT_MS, fuzzed } from '@tessera/shared/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type LayerEntry, makeLayer } from '../../image/testing/index.js';
import type { PersonContainer } from './testing/person.js';
import { openRig, type Rig } from './testing/rig.js';

vi.setConfig({ hookTimeout: 120_000 });

const { signal } = new AbortController();

let rig: Rig;
let host: string;
let container: PersonContainer;
beforeAll(async () => {
  rig = await openRig();
  host = mkdtempSync(join(rig.dir, 'host-'));
  mkdirSync(join(host, 'inside'));
  writeFileSync(join(host, 'secret'), 'secret');
  const mounts = [{ type: 'bind', source: join(host, 'inside'), target: '/in' }] as never;
  container = await rig.create(['true'], { mounts });
});
afterAll(async () => {
  await container.remove();
  await rig.close();
});

const path = fc
  .array(fc.constantFrom('a', 'b', 'c', '..', '.', '', 'in', 'ü', '.wh.a'), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join('/') || 'x');
const target = fc.oneof(
  path,
  fc.constantFrom('/', '/in', '../../../..', '../secret', '/in/../../secret', '/proc/1/root'),
);
const entry: fc.Arbitrary<LayerEntry> = fc.oneof(
  path.map((name) => ({ name, content: 'content' })),
  path.map((name) => ({ name, type: 'directory' as const, mode: 0o700 })),
  fc.tuple(path, target).map(([name, linkname]) => ({ name, type: 'symlink' as const, linkname })),
  fc.tuple(path, target).map(([name, linkname]) => ({ name, type: 'link' as const, linkname })),
  path.map((name) => ({ name, type: 'fifo' as const })),
);
const damage = fc.array(
  fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 255 })),
  { maxLength: 3 },
);

test('whatever is uploaded is taken or refused, and changes nothing outside the container', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  const before = lstatSync(join(host, 'secret'));
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { maxLength: 12 }),
      damage,
      fc.boolean(),
      fc.constantFrom('/', '/tmp', '/in'),
      async (entries, changes, keepKind, where) => {
        const archive = await makeLayer(entries);
        for (const [at, value] of changes) archive[Math.floor(at * (archive.length - 1))] = value;
        const input = (async function* () {
          yield archive;
        })();
        await container.live
          .useFiles(
            container.asked,
            (files, _, both) => putArchive(files, where, { keepKind, user: '' }, input, both),
            signal,
          )
          .catch((error: unknown) => {
            if (!(error instanceof ClusterError) || error.kind === 'internal') throw error;
            expect(error.message).not.toBe('');
          });
        expect(readdirSync(host).sort()).toEqual(['inside', 'secret']);
        expect(readFileSync(join(host, 'secret'), 'utf8')).toBe('secret');
        const after = lstatSync(join(host, 'secret'));
        expect([after.nlink, after.mode, after.mtimeMs]).toEqual([1, before.mode, before.mtimeMs]);
      },
    ),
    fuzzed(60),
  );
});
