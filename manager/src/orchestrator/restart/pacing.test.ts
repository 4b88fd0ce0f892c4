import fc from 'fast-check';
import { expect, test } from 'vitest';
import { paceReplacement } from './pacing.js';

const GRACE_MS = 3_000;
const silent = (...sinceMs: number[]) =>
  sinceMs.map((stateSinceMs, index) => ({ nodeId: `n${String(index).padStart(3, '0')}`, stateSinceMs }));

test('a node that falls silent alone is released at once', () => {
  const { released, nextAtMs } = paceReplacement(silent(1_000), 3, GRACE_MS, 1_000);

  expect([...released]).toEqual(['n000']);
  expect(nextAtMs).toBeUndefined();
});

test('two of three are not many enough to hold anything back', () => {
  expect(paceReplacement(silent(1_000, 1_000), 3, GRACE_MS, 1_000).released.size).toBe(2);
});

test('a third of the nodes is not over a third', () => {
  expect(paceReplacement(silent(0, 0, 0), 9, GRACE_MS, 0).released.size).toBe(3);
  expect(paceReplacement(silent(0, 0, 0), 8, GRACE_MS, 0).released.size).toBe(1);
});

test('over a third together are released one per grace time', () => {
  const down = silent(0, 0, 0, 0);

  const at = (nowMs: number) => paceReplacement(down, 10, GRACE_MS, nowMs);

  expect(at(0)).toMatchObject({ nextAtMs: 3_000, heldCount: 3 });
  expect([0, 2_999, 3_000, 6_000, 9_000].map((nowMs) => at(nowMs).released.size)).toEqual([1, 1, 2, 3, 4]);
});

test('nodes that fall silent minutes apart have nothing to do with each other', () => {
  expect(paceReplacement(silent(0, 100_000, 200_000, 300_000), 4, GRACE_MS, 300_000).released.size).toBe(4);
});

test('every node is released in the end, none before it fell silent, and nothing held is without a next time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 200_000 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 400_000 }),
      (sinceMs, nodeCount, nowMs) => {
        const down = silent(...sinceMs);
        const now = paceReplacement(down, nodeCount, GRACE_MS, nowMs);

        for (const { nodeId, stateSinceMs } of down)
          if (stateSinceMs > nowMs) expect(now.released.has(nodeId)).toBe(false);
        expect(now.nextAtMs !== undefined).toBe(now.heldCount > 0);
        expect(paceReplacement(down, nodeCount, GRACE_MS, 10_000_000).released.size).toBe(down.length);
        if (now.nextAtMs !== undefined) {
          const next = paceReplacement(down, nodeCount, GRACE_MS, now.nextAtMs);
          expect(next.released.size).toBeGreaterThan(now.released.size);
        }
      },
    ),
  );
});
