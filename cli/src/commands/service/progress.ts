import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';

/** How far a service is, in lines for people. */
export interface Progress {
  readonly summary: string;
  /** A line for each slot, up to a number that fits a screen. */
  readonly slots: readonly string[];
  /** Why tasks cannot run yet: each reason once. */
  readonly waiting: readonly string[];
  readonly isComplete: boolean;
  /** Set when it will not get there by itself. */
  readonly failure?: string;
}

const SLOTS_SHOWN_MAX = 20;
const BAR_LENGTH = 50;
/** The order of states up to running, for the bar. */
const STATES = ['new', 'pending', 'assigned', 'accepted', 'preparing', 'ready', 'starting', 'running'];
const ENDED = new Set(['complete', 'shutdown', 'failed', 'rejected', 'orphaned', 'remove']);

/** @param tasks those of the latest spec */
export function planProgress(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
): Progress {
  const down = new Set(nodes.filter(({ Status }) => Status.State === 'down').map(({ ID }) => ID));
  const current = currentTasks(tasks, down);
  const total = wantedCount(service, nodes);
  const running = [...current.values()].filter(({ Status }) => Status.State === 'running').length;
  const isUpdating =
    service.UpdateStatus?.State === 'updating' || service.UpdateStatus?.State === 'rollback_started';
  const failure = failureOf(service);
  return {
    summary: `overall progress: ${running} out of ${total} tasks`,
    slots: total > SLOTS_SHOWN_MAX ? [] : slotLines(service, current, total),
    waiting: [...new Set([...current.values()].flatMap(({ Status }) => (Status.Err ? [Status.Err] : [])))],
    isComplete: running === total && current.size <= total && !isUpdating,
    ...(failure ? { failure } : {}),
  };
}

/** The task that matters in each slot: one that is meant to run, on a node that is there; else the newest. */
function currentTasks(tasks: readonly TaskJson[], down: ReadonlySet<string>): Map<string | number, TaskJson> {
  const current = new Map<string | number, TaskJson>();
  for (const task of tasks) {
    if (!isWanted(task) || down.has(task.NodeID ?? '')) continue;
    const key = task.Slot || task.NodeID || task.ID;
    const other = current.get(key);
    if (!other || isNewer(task, other)) current.set(key, task);
  }
  return current;
}

const isWanted = ({ DesiredState }: TaskJson): boolean =>
  DesiredState === 'running' || DesiredState === 'ready' || DesiredState === 'complete';

function isNewer(task: TaskJson, other: TaskJson): boolean {
  const ended = Number(ENDED.has(other.Status.State)) - Number(ENDED.has(task.Status.State));
  return ended > 0 || (ended === 0 && task.CreatedAt > other.CreatedAt);
}

function wantedCount(service: ServiceJson, nodes: readonly NodeJson[]): number {
  const replicas = service.Spec.Mode?.Replicated?.Replicas;
  if (replicas !== undefined) return replicas;
  return nodes.filter(({ Status, Spec }) => Status.State === 'ready' && Spec.Availability === 'active')
    .length;
}

function slotLines(
  service: ServiceJson,
  current: ReadonlyMap<string | number, TaskJson>,
  total: number,
): string[] {
  if (service.Spec.Mode?.Global) {
    return [...current].map(([key, task]) => `${String(key).slice(0, 12)}: ${describe(task)}`);
  }
  const width = String(total).length;
  return Array.from({ length: total }, (_, index) => {
    const task = current.get(index + 1);
    const place = `${String(index + 1).padStart(width)}/${total}`;
    return `${place}: ${task ? describe(task) : ''}`;
  });
}

function describe({ Status }: TaskJson): string {
  const step = STATES.indexOf(Status.State);
  if (Status.Err) return Status.Err;
  if (step < 0) return Status.State;
  const filled = Math.round(((step + 1) / STATES.length) * BAR_LENGTH);
  const bar = `${'='.repeat(Math.max(0, filled - 1))}>`.padEnd(BAR_LENGTH);
  return `${Status.State.padEnd(9)} [${bar}]`;
}

function failureOf({ UpdateStatus }: ServiceJson): string | undefined {
  switch (UpdateStatus?.State) {
    case 'paused':
      return `service update paused: ${UpdateStatus.Message}`;
    case 'rollback_paused':
      return `service rollback paused: ${UpdateStatus.Message}`;
    case 'rollback_completed':
      return `service rolled back: ${UpdateStatus.Message}`;
    default:
      return undefined;
  }
}
