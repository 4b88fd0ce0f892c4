import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_UNPACK_BOUNDS, unpackArchive } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { FUZZ_TIMEOUT_MS, fuzzed } from '@tessera/shared/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compress, type LayerEntry, makeArchive, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

const signal = new AbortController().signal;
// Small, so that what a changed number claims is refused and not made.
const bounds = { ...DEFAULT_UNPACK_BOUNDS, bytesMax: 1e7, entriesMax: 1000 };

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-fuzz-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** What comes of a foreign archive: content, or an error that says what is wrong with it. */
async function isRefusedOrTaken(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    expect(['invalidArgument', 'resourceExhausted']).toContain(error.kind);
    expect(error.message).not.toBe('');
  }
}

const names = fc.array(fc.constantFrom('a', 'b', 'c', '..', '.', '', '.wh.a', '.wh..wh..opq', '.wh.', 'ü'), {
  minLength: 1,
  maxLength: 4,
});
const path = names.map((parts) => parts.join('/') || 'x');
const entry: fc.Arbitrary<LayerEntry> = fc.oneof(
  path.map((name) => ({ name, content: 'content' })),
  path.map((name) => ({ name, type: 'directory' as const })),
  fc.tuple(path, path).map(([name, linkname]) => ({ name, type: 'symlink' as const, linkname })),
  fc.tuple(path, path).map(([name, linkname]) => ({ name, type: 'link' as const, linkname })),
  fc
    .tuple(path, fc.constantFrom('..', '/', '../..', '/tmp', '../outside'))
    .map(([name, linkname]) => ({ name, type: 'symlink' as const, linkname })),
);

test('whatever names and links a layer has, nothing is made outside it', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
      const host = mkdtempSync(join(directory, 'host-'));
      const root = join(host, 'root');
      mkdirSync(join(host, 'outside'));
      mkdirSync(root);
      const layer = await makeLayer(entries);
      await isRefusedOrTaken(unpackArchive({ mode: 'layer', root, input: inPieces(layer), bounds }, signal));
      expect(readdirSync(host).sort()).toEqual(['outside', 'root']);
      expect(readdirSync(join(host, 'outside'))).toEqual([]);
    }),
    fuzzed(150),
  );
});

test('a damaged archive is refused or taken whole, and leaves the store as it was', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  const fixture = new StoreFixture();
  const store = await fixture.open('images', { bounds });
  const content = {
    names: ['app'],
    layers: [
      await makeLayer([{ name: 'a', content: 'A'.repeat(600) }]),
      await makeLayer([{ name: 'b/', type: 'directory' }]),
    ],
  };
  const archives = await Promise.all(
    (['docker', 'oci'] as const).flatMap((format) =>
      (['plain', 'gzip', 'zstd'] as const).map(async (compression) =>
        compress(await makeArchive([content], { format, layerCompression: 'gzip' }), compression),
      ),
    ),
  );
  const damage = fc.array(
    fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 255 })),
    {
      minLength: 1,
      maxLength: 6,
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...archives),
      damage,
      fc.double({ min: 0.2, max: 1, noNaN: true }),
      async (archive, changes, kept) => {
        const bytes = Buffer.from(archive);
        for (const [position, value] of changes) bytes[Math.floor(position * (bytes.length - 1))] = value;
        const cut = bytes.subarray(0, Math.ceil(bytes.length * Math.min(1, kept * 1.5)));
        await isRefusedOrTaken(store.load(inPieces(cut), () => {}, signal));
        for (const imageId of store.held()) {
          await store.ensure(imageId, 'task', signal);
          await store.release('task');
          await store.remove(imageId);
        }
        expect(fixture.count()).toEqual(NOTHING);
      },
    ),
    fuzzed(120),
  );
  fixture.remove();
});
