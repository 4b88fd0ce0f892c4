import { expect, test } from 'vitest';
import { spread } from './side-by-side.js';

test('the few stand at even distances, and nothing is lost', () => {
  expect(spread(['A', 'B'], [1, 2, 3, 4, 5].map(String)).join('')).toBe('A123B45');
  expect(spread(['A', 'B'], ['1']).join('')).toBe('A1B');
  expect(spread([], ['1', '2']).join('')).toBe('12');
});
