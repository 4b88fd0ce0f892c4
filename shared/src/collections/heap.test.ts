import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Heap } from './heap.js';

test('a heap gives its items in order, whatever the order they came in', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.array(fc.integer()), (first, later) => {
      const heap = new Heap<number>((a, b) => a - b, first);
      for (const item of later) heap.push(item);

      const taken = [];
      for (let item = heap.pop(); item !== undefined; item = heap.pop()) taken.push(item);

      expect(taken).toEqual([...first, ...later].sort((a, b) => a - b));
      expect(heap.size).toBe(0);
    }),
  );
});
