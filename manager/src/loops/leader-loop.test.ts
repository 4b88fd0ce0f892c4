import type { Logger } from '@tessera/shared/env';
import { aService, FakeClock, settle } from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import type { Change } from '../store/view.js';
import { type LoopDefinition, type Outcome, runLoop } from './leader-loop.js';

let ending = new AbortController();
afterEach(() => {
  ending.abort();
  ending = new AbortController();
});

/** A loop over services that notes what it was called for; `outcome` is what the next passes come to. */
async function aLoop(touches: boolean) {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  const seen: string[] = [];
  const warnings: string[] = [];
  const state = { outcome: { worked: false } as Outcome };
  const logger: Logger = {
    error: (_, message) => void warnings.push(message),
    warn: (_, message) => void warnings.push(message),
    info() {},
    debug() {},
    child: () => logger,
  };
  const definition: LoopDefinition = {
    name: 'test',
    concurrency: 1,
    ids: (view) => [...view.services.all()].map(({ id }) => id),
    touched: (changes: readonly Change[]) => (touches ? changes.map(({ id }) => id) : []),
    reconcile: async (id) => {
      seen.push(id);
      return state.outcome;
    },
  };
  const run = () => runLoop(definition, { store, clock, logger, signal: ending.signal });
  return { clock, store, seen, warnings, state, run };
}

const put = (store: MemoryStore, id: string) =>
  store.update((tx) => tx.put('services', aService({ id }, { name: id })));

test('a loop begins with everything there is, and goes on with what changes', async () => {
  const { store, seen, run } = await aLoop(true);
  await put(store, 'a');
  run();
  await settle();

  await put(store, 'b');
  await settle();

  expect(seen).toEqual(['a', 'b']);
});

test('an id that asks to be woken is looked at then', async () => {
  const { clock, store, seen, state, run } = await aLoop(true);
  await put(store, 'a');
  state.outcome = { worked: false, wakeAtMs: clock.now() + 5_000 };
  run();
  await settle();
  state.outcome = { worked: false };

  await clock.advanceAsync(4_999);
  expect(seen).toEqual(['a']);
  await clock.advanceAsync(1);
  expect(seen).toEqual(['a', 'a']);
});

test('the full pass finds what no event told of, and says so', async () => {
  const { clock, store, seen, warnings, state, run } = await aLoop(false);
  run();
  await put(store, 'a');
  await settle();
  expect(seen).toEqual([]);
  state.outcome = { worked: true };

  await clock.advanceAsync(60_000);

  expect(seen).toEqual(['a']);
  expect(warnings).toEqual(['the full pass of test found work: an event was lost']);
});

test('a full pass that finds nothing to do is silent', async () => {
  const { clock, store, seen, warnings, run } = await aLoop(true);
  await put(store, 'a');
  run();

  await clock.advanceAsync(120_000);

  expect(seen.length).toBeGreaterThanOrEqual(2);
  expect(warnings).toEqual([]);
});

test('nothing is looked at once the term is over', async () => {
  const { clock, store, seen, state, run } = await aLoop(true);
  await put(store, 'a');
  state.outcome = { worked: false, wakeAtMs: clock.now() + 1_000 };
  run();
  await settle();

  ending.abort();
  await put(store, 'b');
  await clock.advanceAsync(120_000);

  expect(seen).toEqual(['a']);
});
