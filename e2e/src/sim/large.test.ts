import { expect, test } from 'vitest';
import { runSeed } from './run.js';

test('a hundred nodes with a thousand tasks come right (npm run sim -- --seed 1 --size large)', async () => {
  const report = await runSeed(1, 'large');

  expect(report.broken).toEqual([]);
  expect(report.containersStarted).toBeGreaterThan(700);
}, 300_000);

test('a seed goes the same way every time', async () => {
  const lines: string[][] = [[], []];

  for (const log of lines) await runSeed(4, 'small', (line) => log.push(line));

  expect(lines[0]!.length).toBeGreaterThan(500);
  expect(lines[1]).toEqual(lines[0]);
}, 180_000);
