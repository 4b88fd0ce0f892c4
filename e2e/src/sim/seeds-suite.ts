import { expect, test } from 'vitest';
import { runSeed } from './run.js';

/** Generous: what matters is what happens in virtual time, and test machines are slow and busy. */
const TIMEOUT_MS = 180_000;

/** One test per seed, so that a failure names the seed that replays it. */
export function testSeeds(first: number, count: number): void {
  for (let seed = first; seed < first + count; seed++) {
    test(
      `a cluster comes right whatever befalls it (npm run sim -- --seed ${seed} --size small)`,
      async () => {
        const report = await runSeed(seed, 'small');

        expect(report.broken, `replay: npm run sim -- --seed ${seed} --size small`).toEqual([]);
        // A run in which nothing happened would prove nothing.
        expect(report.containersStarted).toBeGreaterThan(20);
        expect(report.leadersElected).toBeGreaterThan(0);
      },
      TIMEOUT_MS,
    );
  }
}
