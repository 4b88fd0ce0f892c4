import type { Service, Task } from '@tessera/shared/model';
import { aService, aTask, FakeClock, settle } from '@tessera/shared/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from './testing/index.js';
import type { Transaction, View } from './view.js';

// A store driven by random transactions, beside plain maps that say what it must hold.

const IDS = ['a', 'b', 'c', 'd', 'e'];
const NODES = ['', 'n1', 'n2'];

type Step =
  | { kind: 'putTask'; id: string; serviceId: string; nodeId: string }
  | { kind: 'deleteTask'; id: string }
  | { kind: 'putService'; id: string; name: string }
  | { kind: 'deleteService'; id: string }
  | { kind: 'take'; claim: string; owner: string }
  | { kind: 'release'; claim: string };

const id = fc.constantFrom(...IDS);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('putTask' as const), id, serviceId: id, nodeId: fc.constantFrom(...NODES) }),
  fc.record({ kind: fc.constant('deleteTask' as const), id }),
  fc.record({ kind: fc.constant('putService' as const), id, name: id }),
  fc.record({ kind: fc.constant('deleteService' as const), id }),
  fc.record({ kind: fc.constant('take' as const), claim: id, owner: id }),
  fc.record({ kind: fc.constant('release' as const), claim: id }),
);
/** One transaction; `fails` throws at its end, so that nothing of it may stay. `by` names the manager. */
const transaction = fc.record({
  steps: fc.array(step, { maxLength: 8 }),
  fails: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  by: fc.integer({ min: 0, max: 1 }),
});

interface Model {
  tasks: Map<string, { serviceId: string; nodeId: string }>;
  services: Map<string, string>;
  claims: Map<string, string>;
}
const copy = ({ tasks, services, claims }: Model): Model => ({
  tasks: new Map(tasks),
  services: new Map(services),
  claims: new Map(claims),
});

/** @returns false when the step is refused */
function stepModel(model: Model, step: Step): boolean {
  switch (step.kind) {
    case 'putTask':
      model.tasks.set(step.id, { serviceId: step.serviceId, nodeId: step.nodeId });
      return true;
    case 'deleteTask':
      model.tasks.delete(step.id);
      return true;
    case 'putService':
      model.services.set(step.id, step.name);
      return true;
    case 'deleteService':
      model.services.delete(step.id);
      return true;
    case 'take': {
      const holder = model.claims.get(step.claim);
      if (holder !== undefined && holder !== step.owner) return false;
      model.claims.set(step.claim, step.owner);
      return true;
    }
    case 'release':
      model.claims.delete(step.claim);
      return true;
  }
}

function stepStore(tx: Transaction, step: Step): void {
  switch (step.kind) {
    case 'putTask':
      tx.put('tasks', aTask({ id: step.id, serviceId: step.serviceId, nodeId: step.nodeId }));
      break;
    case 'deleteTask':
      tx.delete('tasks', step.id);
      break;
    case 'putService':
      tx.put('services', aService({ id: step.id }, { name: step.name }));
      break;
    case 'deleteService':
      tx.delete('services', step.id);
      break;
    case 'take':
      tx.takeClaim(step.claim, step.owner);
      break;
    case 'release':
      tx.releaseClaim(step.claim);
  }
}

const taskIds = (tasks: Iterable<Task>): string[] => [...tasks].map((task) => task.id);
const ordered = (tasks: Model['tasks'], matches: (task: { serviceId: string; nodeId: string }) => boolean) =>
  IDS.filter((id) => tasks.has(id) && matches(tasks.get(id)!));

/** Everything a view shows equals what the model says, indexes and order included. */
function expectSame(view: View, model: Model): void {
  expect(taskIds(view.tasks.all())).toEqual(ordered(model.tasks, () => true));
  expect(view.tasks.size).toBe(model.tasks.size);
  for (const id of IDS) {
    expect(view.tasks.get(id)?.nodeId).toBe(model.tasks.get(id)?.nodeId);
    expect(taskIds(view.tasks.byService(id))).toEqual(ordered(model.tasks, (task) => task.serviceId === id));
    expect(view.services.get(id)?.spec?.name).toBe(model.services.get(id));
    const named = [...model.services].filter(([, name]) => name === id).map(([serviceId]) => serviceId);
    expect(view.services.byName(id)?.id).toBe(named.sort()[0]);
    expect(view.claim(id)).toBe(model.claims.get(id));
  }
  for (const node of NODES)
    expect(taskIds(view.tasks.byNode(node))).toEqual(ordered(model.tasks, (task) => task.nodeId === node));
}

test('a store holds what its transactions say, on every manager and in every index', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(transaction, { maxLength: 25 }), async (transactions) => {
      const clock = new FakeClock();
      const one = await openMemoryStore(clock, { managerId: 'm1', faults: { repeatEvents: () => true } });
      const two = await openMemoryStore(clock, { managerId: 'm2', beside: one, seed: 2 });
      let model: Model = { tasks: new Map(), services: new Map(), claims: new Map() };
      // What subscribers are told, applied one after another, must lead to the same state.
      const told = new Map<string, Task | Service>();
      two.subscribe((changes) => {
        for (const { kind, id, before, after } of changes) {
          if (kind !== 'tasks' && kind !== 'services') continue;
          expect(told.get(`${kind}/${id}`)).toEqual(before);
          if (after) told.set(`${kind}/${id}`, after as Task | Service);
          else told.delete(`${kind}/${id}`);
        }
      });

      for (const { steps, fails, by } of transactions) {
        const next = copy(model);
        const allowed = steps.every((step) => stepModel(next, step)) && !fails;
        const store: MemoryStore = by === 0 ? one : two;
        await store.read();
        const committed = store.update((tx) => {
          for (const step of steps) stepStore(tx, step);
          expectSame(tx, next);
          if (fails) throw new Error('the body fails');
        });
        await (allowed ? expect(committed).resolves.toBeUndefined() : expect(committed).rejects.toThrow());
        if (allowed) model = next;
        expectSame(store.view(), model);
      }

      expectSame(await one.read(), model);
      expectSame(await two.read(), model);
      await settle();
      expect(told.size).toBe(model.tasks.size + model.services.size);
      one.close();
      two.close();
    }),
    { numRuns: 40, seed: 7 },
  );
});
