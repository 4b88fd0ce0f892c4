import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fillVolume } from './volume.js';

// ts-fill on an image that is nobody's friend. What it copies is shown by the agent's tests of volumes.

const { signal } = new AbortController();
const MIB = 2 ** 20;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ts-fill-'));
  for (const name of ['volume/_data', 'empty', 'layer/target'])
    mkdirSync(join(dir, name), { recursive: true });
});
afterEach(() => rmSync(dir, { recursive: true }));

const fill = (memoryMaxBytes?: number) =>
  fillVolume(
    join(dir, 'volume'),
    join(dir, 'volume/_data'),
    { empty: join(dir, 'empty'), target: '/target', base: dir, layers: ['layer'] },
    signal,
    memoryMaxBytes,
  );

test('an image with more hard links than there is memory for is refused, and nothing of it is in the volume', async () => {
  const deep = join(dir, 'layer/target', ...Array.from({ length: 14 }, () => 'd'.repeat(250)));
  mkdirSync(deep, { recursive: true });
  // Each pair is remembered by its path: some three kilobytes.
  for (let number = 0; number < 1_000; number++) {
    writeFileSync(join(deep, `a${number}`), '');
    linkSync(join(deep, `a${number}`), join(deep, `b${number}`));
  }

  await expect(fill(2 * MIB)).rejects.toMatchObject({ kind: 'resourceExhausted' });
  expect(readdirSync(join(dir, 'volume/_data'))).toEqual([]);

  await fill();
  expect(readdirSync(join(dir, 'volume/_data'))).toHaveLength(1);
  expect(readdirSync(join(dir, 'volume'))).toEqual(['_data']);
});
