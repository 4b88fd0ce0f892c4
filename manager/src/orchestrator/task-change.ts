import { newId, type Random } from '@tessera/shared/env';
import { type Cluster, type Service, Task } from '@tessera/shared/model';
import type { Transaction } from '../store/view.js';
import type { RestartRecord } from './restart/policy.js';

/** What a task to be made is given by its slot's past. */
export interface NewTask {
  readonly slot: number;
  /** Set for a global service, whose tasks are made for a node. */
  readonly nodeId: string;
  readonly epochNumber: number;
  /** Ids of what must have stopped first. */
  readonly supersedes: readonly string[];
  /** `ready` while something must have stopped, or a delay have passed, before it may run. */
  readonly desiredState: 'ready' | 'running';
  readonly restart: RestartRecord;
}

/** One change that brings a service's tasks closer to its spec; whole or not at all. */
export type TaskChange =
  | { readonly kind: 'create'; readonly create: NewTask }
  /** Retires what the slot holds and makes its replacement, in one. */
  | { readonly kind: 'replace'; readonly retire: readonly Task[]; readonly create: NewTask }
  /** `shutdown` keeps the task for the slot's history, `remove` has the reaper delete it once it has stopped. */
  | { readonly kind: 'retire'; readonly task: Task; readonly desiredState: 'shutdown' | 'remove' }
  /** What the task waited for has come. */
  | { readonly kind: 'start'; readonly task: Task }
  /** The task, with the number of a newer template that says the same. */
  | { readonly kind: 'carry'; readonly task: Task };

/** How many objects the change writes: a transaction holds about a hundred. */
export function weightOf(change: TaskChange): number {
  return change.kind === 'replace' ? change.retire.length + 1 : 1;
}

/** The first changes that fit into one transaction. */
export function firstPiece(changes: readonly TaskChange[], weightMax: number): TaskChange[] {
  let weight = 0;
  let count = 0;
  for (const change of changes) {
    weight += weightOf(change);
    if (weight > weightMax && count > 0) break;
    count++;
  }
  return changes.slice(0, count);
}

export interface ApplyContext {
  readonly service: Service;
  readonly cluster: Cluster | undefined;
  readonly random: Random;
  readonly nowMs: number;
}

export function applyChange(tx: Transaction, context: ApplyContext, change: TaskChange): void {
  const desire = (task: Task, desiredState: Task['desiredState']) =>
    tx.put('tasks', { ...task, desiredState, desiredSinceMs: context.nowMs });
  switch (change.kind) {
    case 'create':
      tx.put('tasks', taskFor(context, change.create));
      break;
    case 'replace':
      for (const task of change.retire) desire(task, 'shutdown');
      tx.put('tasks', taskFor(context, change.create));
      break;
    case 'retire':
      desire(change.task, change.desiredState);
      break;
    case 'start':
      desire(change.task, 'running');
      break;
    case 'carry':
      tx.put('tasks', change.task);
      break;
  }
}

function taskFor({ service, cluster, random, nowMs }: ApplyContext, create: NewTask): Task {
  return Task.fromPartial({
    id: newId(random),
    meta: { createdAtMs: nowMs, updatedAtMs: nowMs, index: 1 },
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    serviceLabels: service.spec?.labels ?? {},
    slot: create.slot,
    nodeId: create.nodeId,
    specVersion: service.specVersion,
    state: 'new',
    desiredState: create.desiredState,
    desiredSinceMs: nowMs,
    epoch: { incarnation: cluster?.incarnation ?? 0, number: create.epochNumber },
    supersedes: [...create.supersedes],
    ...create.restart,
    restartsAtMs: [...create.restart.restartsAtMs],
  });
}
