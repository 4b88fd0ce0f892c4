import type { Service, ServiceSpec, Task, TaskState, TaskStatus } from '@tessera/shared/model';
import { aService, aTask, aTaskStatus } from '@tessera/shared/testing';
import type { NodeVerdict } from '../node-verdict.js';
import type { SlotContext } from '../slot-plan.js';
import { allSlots, type Slot, type TaskFacts } from '../slots.js';
import type { TaskChange } from '../task-change.js';

// Builders for the planners' tests: tasks by slot and number, and what a plan came to, in few words.

export const NOW_MS = 1_700_000_000_000;

export interface FactsParts extends Partial<Task> {
  readonly observed?: TaskState;
  readonly number?: number;
  readonly ranMs?: number;
  readonly runningForMs?: number;
}

/** A task of slot 1, assigned and running unless said otherwise; its id is `<slot>.<number>`. */
export function facts(parts: FactsParts = {}): TaskFacts {
  const { observed = 'running', number = 1, ranMs, runningForMs = 3_600_000, ...rest } = parts;
  const slot = rest.slot ?? 1;
  const task = aTask({
    id: `${slot === 0 ? rest.nodeId : slot}.${number}`,
    slot,
    nodeId: 'node-1',
    state: 'assigned',
    epoch: { incarnation: 1, number },
    ...rest,
  });
  const container: TaskStatus['container'] = {
    containerId: 'c',
    pid: 0,
    exitCode: 1,
    oomKilled: false,
    startedAtMs: ranMs === undefined ? NOW_MS - runningForMs : NOW_MS - ranMs,
    finishedAtMs: ranMs === undefined ? 0 : NOW_MS,
  };
  const status =
    observed === task.state ? undefined : aTaskStatus({ taskId: task.id, state: observed, container });
  return { task, observed, status };
}

export const slotOf = (...tasks: TaskFacts[]): Slot => allSlots(tasks)[0]!;

export interface ContextParts {
  readonly service?: Service;
  readonly verdicts?: Record<string, NodeVerdict>;
  /** Ids of tasks of which nothing runs any more. */
  readonly stopped?: readonly string[];
  readonly nowMs?: number;
}

export function aContext(parts: ContextParts = {}): SlotContext {
  const { service = aService(), verdicts = {}, stopped = [], nowMs = NOW_MS } = parts;
  return {
    policy: service.spec?.task?.restart,
    specVersion: service.specVersion,
    nowMs,
    verdictOf: ({ nodeId }) => verdicts[nodeId] ?? 'usable',
    hasStopped: (taskId) => stopped.includes(taskId),
  };
}

export const replicated = (
  replicas: number,
  spec: Partial<ServiceSpec> = {},
  service: Partial<Service> = {},
) => aService(service, { replicas, ...spec });

/** Changes as lines: `create 2`, `shutdown 1.1`, `replace 1.1 by 1.2 ready`, `start 1.2`. */
export const inWords = (changes: readonly TaskChange[]): string[] => changes.map(wordsFor);

function wordsFor(change: TaskChange): string {
  switch (change.kind) {
    case 'create':
      return `create ${place(change.create)} ${change.create.desiredState}`;
    case 'replace':
      return `replace ${change.retire.map(({ id }) => id).join(' ')} by ${place(change.create)} ${change.create.desiredState}`;
    case 'retire':
      return `${change.desiredState} ${change.task.id}`;
    case 'start':
      return `start ${change.task.id}`;
    case 'carry':
      return `carry ${change.task.id} to ${change.task.specVersion}`;
  }
}

const place = ({ slot, nodeId, epochNumber }: { slot: number; nodeId: string; epochNumber: number }) =>
  `${slot === 0 ? nodeId : slot}.${epochNumber}`;
