/**
 * How many cases a fuzz test tries: few among the other tests, many by `npm run fuzz`, which sets FUZZ_FACTOR, and
 * FUZZ_SEED to try the same ones again. Given to fast-check's `assert`.
 *
 * @param short how many among the other tests
 */
export function fuzzed(short: number): { numRuns: number; seed?: number } {
  const { FUZZ_FACTOR, FUZZ_SEED } = process.env;
  return {
    numRuns: short * Number(FUZZ_FACTOR ?? 1),
    ...(FUZZ_SEED === undefined ? {} : { seed: Number(FUZZ_SEED) }),
  };
}

/** Long enough for the longest run: a fuzz test ends by its number of cases, and each case by bounds of its own. */
export const FUZZ_TIMEOUT_MS = 3_600_000;
