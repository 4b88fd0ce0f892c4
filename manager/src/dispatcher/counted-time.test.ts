import { FakeClock } from '@tessera/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { CountedTime } from './counted-time.js';

let clock: FakeClock;
let time: CountedTime;
let judged: number[];
let halted: boolean;

beforeEach(() => {
  clock = new FakeClock();
  judged = [];
  halted = false;
  time = new CountedTime(clock, {
    tickMs: 250,
    lateMs: 1_000,
    halted: () => halted,
    onTick: () => judged.push(clock.monotonic()),
  });
});

test('it runs with the clock while its ticks are on time', () => {
  clock.advance(1_000);

  expect(time.now()).toBe(1_000);
  expect(judged).toEqual([250, 500, 750, 1_000]);
});

test('a sleep counts as no more than two ticks, and nobody is judged right after it', () => {
  clock.sleep(10_000);
  clock.advance(0);

  expect(time.now()).toBe(500);
  expect(judged).toEqual([]);
  clock.advance(250);
  expect(judged).toEqual([10_250]);
});

test('ticks that a busy machine delays a little still judge', () => {
  clock.sleep(600);
  clock.advance(0);

  expect(judged).toEqual([600]);
});

test('it stands still while halted, and goes on from where it was', () => {
  clock.advance(500);
  halted = true;
  clock.advance(5_000);
  halted = false;
  clock.advance(250);

  expect(time.now()).toBe(750);
  expect(judged).toHaveLength(3);
});

test('stopped, it ticks no more', () => {
  time.stop();
  clock.advance(5_000);

  expect(judged).toEqual([]);
  expect(clock.nextAtMs()).toBeUndefined();
});
