import { aTask } from '@tessera/shared/testing';
import { Assignment, Assignments } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { AssignmentSet } from './assignment-set.js';

const task = (id: string) =>
  Assignment.fromPartial({ key: `task/${id}`, item: { $case: 'task', value: aTask({ id }) } });
const endpoint = (taskId: string) =>
  Assignment.fromPartial({
    key: `endpoint/${taskId}/net`,
    item: { $case: 'endpoint', value: { taskId, networkId: 'net' } },
  } as never);
const message = (part: Partial<Assignments>) => Assignments.fromPartial({ complete: true, ...part } as never);

test('a full set counts once its last piece is here', () => {
  const set = new AssignmentSet();

  expect(set.add(message({ sequence: 1, full: true, complete: false, items: [task('a')] }))).toBeUndefined();
  const work = set.add(message({ sequence: 2, full: true, items: [task('b'), endpoint('b')] }));

  expect([...work!.tasks.keys()]).toEqual(['a', 'b']);
  expect(work?.networks.endpoints.map((e) => e.taskId)).toEqual(['b']);
});

test('deltas add, replace and remove', () => {
  const set = new AssignmentSet();
  set.add(message({ sequence: 1, full: true, items: [task('a'), task('b')] }));

  const work = set.add(message({ sequence: 2, items: [task('c')], removed: ['task/a'] }));

  expect([...work!.tasks.keys()]).toEqual(['b', 'c']);
  expect(work?.sequence).toBe(2);
});

test('the networks of a set are another version only when an item of theirs has changed', () => {
  const set = new AssignmentSet();
  const first = set.add(message({ sequence: 1, full: true, items: [task('a'), endpoint('a')] }));
  const second = set.add(message({ sequence: 2, items: [task('b')] }));
  const third = set.add(message({ sequence: 3, removed: ['endpoint/a/net'] }));

  expect(second?.networksVersion).toBe(first?.networksVersion);
  expect(second?.networks).toBe(first?.networks);
  expect(third?.networksVersion).not.toBe(first?.networksVersion);
  expect(third?.networks.endpoints).toEqual([]);
});

test('a delta without its full set, or out of order, is refused', () => {
  expect(() => new AssignmentSet().add(message({ sequence: 1 }))).toThrow('before the full set');

  const set = new AssignmentSet();
  set.add(message({ sequence: 5, full: true }));
  expect(() => set.add(message({ sequence: 4 }))).toThrow('came after');
});
