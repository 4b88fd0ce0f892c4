import { describe, expect, test } from 'vitest';
import { binarySize, decimalSize, goDuration, humanDuration } from './index.js';

describe('durations are said as docker says them', () => {
  const minute = 60_000;
  const hour = 60 * minute;
  const day = 24 * hour;
  test.each([
    [450, 'Less than a second'],
    [1_000, '1 second'],
    [47_900, '47 seconds'],
    [minute, 'About a minute'],
    [3 * minute, '3 minutes'],
    [hour, 'About an hour'],
    [5 * hour, '5 hours'],
    [47 * hour, '47 hours'],
    [2 * day - 20 * minute, '2 days'],
    [59 * minute + 59_999, '59 minutes'],
    [3 * day, '3 days'],
    [20 * day, '2 weeks'],
    [90 * day, '3 months'],
    [800 * day, '2 years'],
  ])('%i ms', (ms, words) => {
    expect(humanDuration(ms)).toBe(words);
  });
});

test('sizes have three digits in decimal units, four in binary ones', () => {
  expect(decimalSize(4_261_550)).toBe('4.26MB');
  expect(decimalSize(999)).toBe('999B');
  expect(binarySize(64 * 2 ** 20)).toBe('64MiB');
  expect(binarySize(1_610_612_736)).toBe('1.5GiB');
});

test.each([
  [0, '0s'],
  [100, '100ns'],
  [1_500, '1.5µs'],
  [5e8, '500ms'],
  [1.5e9, '1.5s'],
  [90e9, '1m30s'],
  [3600e9, '1h0m0s'],
])('%d ns is %s', (ns, text) => {
  expect(goDuration(ns)).toBe(text);
});
