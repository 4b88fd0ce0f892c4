import { expect, test } from 'vitest';
import { allSlots } from '../slots.js';
import { aContext, type FactsParts, facts, inWords } from '../testing/index.js';
import { type NodeWish, planGlobal } from './plan.js';

const plan = (wishes: Record<string, NodeWish>, ...tasks: FactsParts[]) =>
  planGlobal(
    allSlots(tasks.map((parts) => facts({ slot: 0, ...parts }))),
    new Map(Object.entries(wishes)),
    aContext(),
  );

test('every node that is wanted gets one task, made for it', () => {
  const { changes } = plan({ a: 'wanted', b: 'wanted', c: 'kept', d: 'refused' }, { nodeId: 'a' });

  expect(inWords(changes)).toEqual(['create b.1 running']);
});

test('a node that is refused, or gone, loses its task', () => {
  const { changes } = plan(
    { a: 'refused', b: 'wanted' },
    { nodeId: 'a' },
    { nodeId: 'b' },
    { nodeId: 'gone' },
  );

  expect(inWords(changes).sort()).toEqual(['remove a.1', 'remove gone.1']);
});

test('a node out of reach, or paused, keeps the task it has', () => {
  const { changes, kept } = plan({ a: 'kept' }, { nodeId: 'a' });

  expect(changes).toEqual([]);
  expect(kept).toEqual([]);
});

test('a node that is wanted again gets a new task behind the one that stops there', () => {
  const { changes } = plan({ a: 'wanted' }, { nodeId: 'a', desiredState: 'remove' });

  expect(inWords(changes)).toEqual(['create a.2 ready']);
  expect(changes[0]).toMatchObject({ create: { supersedes: ['a.1'] } });
});
