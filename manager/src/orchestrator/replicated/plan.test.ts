import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allSlots, type TaskFacts } from '../slots.js';
import { aContext, type FactsParts, facts, inWords, replicated } from '../testing/index.js';
import { isHeld, leastValuableFirst, planReplicas } from './plan.js';

const plan = (replicas: number, ...tasks: TaskFacts[]) =>
  planReplicas(replicated(replicas), allSlots(tasks), aContext());

test('the lowest free slots are filled', () => {
  const { changes } = plan(4, facts({ slot: 2 }));

  expect(inWords(changes)).toEqual(['create 1.1 running', 'create 3.1 running', 'create 4.1 running']);
});

test('a service with what it asks for is left alone', () => {
  expect(plan(2, facts({ slot: 1 }), facts({ slot: 2 })).changes).toEqual([]);
});

test('a slot whose task has failed is held: replacing it is another matter', () => {
  expect(plan(1, facts({ observed: 'failed' })).changes).toEqual([]);
  expect(plan(1, facts({ observed: 'complete', desiredState: 'shutdown' })).changes).toEqual([]);
});

test('a slot that is given up goes with its history', () => {
  const { changes } = plan(
    0,
    facts({ number: 1, observed: 'failed', desiredState: 'shutdown' }),
    facts({ number: 2 }),
  );

  expect(inWords(changes)).toEqual(['remove 1.1', 'remove 1.2']);
});

test('a slot that is still being given up is filled anew, behind what stops there', () => {
  const { changes } = plan(1, facts({ number: 3, desiredState: 'remove' }));

  expect(inWords(changes)).toEqual(['create 1.4 ready']);
  expect(changes[0]).toMatchObject({ create: { supersedes: ['1.3'] } });
});

test('what does not run is given up first, then what is on the fullest nodes, then the highest slots', () => {
  const tasks = [
    facts({ slot: 1, nodeId: 'a' }),
    facts({ slot: 2, nodeId: 'b' }),
    facts({ slot: 3, nodeId: 'b' }),
    facts({ slot: 4, nodeId: 'b' }),
    facts({ slot: 5, nodeId: 'a', observed: 'preparing' }),
  ];

  const order = leastValuableFirst(allSlots(tasks)).map(({ number }) => number);

  expect(order).toEqual([5, 4, 3, 2, 1]);
});

const anyTask: fc.Arbitrary<FactsParts> = fc.record({
  slot: fc.integer({ min: 1, max: 6 }),
  number: fc.integer({ min: 1, max: 4 }),
  observed: fc.constantFrom('assigned', 'preparing', 'running', 'failed', 'complete', 'shutdown'),
  desiredState: fc.constantFrom('ready', 'running', 'shutdown', 'remove'),
  nodeId: fc.constantFrom('a', 'b', 'c'),
});
const anyTasks = fc.uniqueArray(anyTask, {
  selector: ({ slot, number }) => `${slot}.${number}`,
  maxLength: 12,
});

test('whatever there is, as many slots are held afterwards as replicas are asked for, and none is held twice', () => {
  fc.assert(
    fc.property(anyTasks, fc.integer({ min: 0, max: 8 }), (parts, replicas) => {
      const slots = allSlots(parts.map(facts));

      const { kept, changes } = planReplicas(replicated(replicas), slots, aContext());

      const created = changes.flatMap((change) => (change.kind === 'create' ? [change.create.slot] : []));
      const numbers = [...kept.map(({ number }) => number), ...created];
      expect(numbers).toHaveLength(replicas);
      expect(new Set(numbers).size).toBe(replicas);
      const held = slots.filter(isHeld).length;
      // Never takes away and gives in one pass.
      expect(created.length > 0 && kept.length < held).toBe(false);
    }),
  );
});
