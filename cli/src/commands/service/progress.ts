import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';

/** How far a service is, in lines for people. */
export interface Progress {
  readonly summary: string;
  /** A line for each slot, up to a number that fits a screen. */
  readonly slots: readonly string[];
  /** What keeps tasks from running: each reason once. */
  readonly waiting: readonly string[];
  readonly isComplete: boolean;
  /** Set when it will not get there by itself. */
  readonly failure?: string;
}

/** One place of a service, by number or, for a global service, by node. */
interface Place {
  /** The task that is meant to run, if there is one. */
  readonly current: TaskJson | undefined;
  /** The last one that ended. */
  readonly ended: TaskJson | undefined;
  /** How many have ended. */
  readonly endedCount: number;
}

const SLOTS_SHOWN_MAX = 20;
const BAR_LENGTH = 50;
/** The order of states up to running, for the bar. */
const STATES = ['new', 'pending', 'assigned', 'accepted', 'preparing', 'ready', 'starting', 'running'];
const ENDED = new Set(['complete', 'shutdown', 'failed', 'rejected', 'orphaned', 'remove']);
const WANTED = new Set(['ready', 'running', 'complete']);

/** @param tasks those of the latest spec */
export function planProgress(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
): Progress {
  const down = new Set(nodes.filter(({ Status }) => Status.State === 'down').map(({ ID }) => ID));
  const places = placesOf(tasks, down);
  const all = [...places.values()];
  const total = wantedCount(service, nodes);
  const done = all.filter((place) => isRunning(place) || hasFinished(service, place)).length;
  const wanted = all.filter(({ current }) => current !== undefined).length;
  const state = service.UpdateStatus?.State;
  const isUpdating = state === 'updating' || state === 'rollback_started';
  const failure = failureOf(service, places);
  return {
    summary: `overall progress: ${done} out of ${total} tasks`,
    slots: total > SLOTS_SHOWN_MAX ? [] : slotLines(service, places, total),
    waiting: [...new Set(all.flatMap((place) => reasonOf(place) ?? []))],
    isComplete: done === total && wanted <= total && !isUpdating,
    ...(failure ? { failure } : {}),
  };
}

function placesOf(tasks: readonly TaskJson[], down: ReadonlySet<string>): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const task of tasks) {
    const key = String(task.Slot || task.NodeID || task.ID);
    const { current, ended, endedCount } = places.get(key) ?? {
      current: undefined,
      ended: undefined,
      endedCount: 0,
    };
    // What a lost node last said of a task is not believed.
    const isWanted = WANTED.has(task.DesiredState) && !down.has(task.NodeID ?? '');
    const hasEnded = ENDED.has(task.Status.State) && !isWanted;
    places.set(key, {
      current: isWanted ? better(task, current) : current,
      ended: hasEnded ? newer(task, ended) : ended,
      endedCount: endedCount + Number(hasEnded),
    });
  }
  return places;
}

function better(task: TaskJson, other: TaskJson | undefined): TaskJson {
  if (!other) return task;
  const difference = Number(ENDED.has(other.Status.State)) - Number(ENDED.has(task.Status.State));
  return difference === 0 ? newer(task, other) : difference > 0 ? task : other;
}

const newer = (task: TaskJson, other: TaskJson | undefined): TaskJson =>
  !other || task.CreatedAt > other.CreatedAt ? task : other;

const isRunning = ({ current }: Place): boolean => current?.Status.State === 'running';

/** Its work is done, and its restart policy leaves it at that. */
function hasFinished(service: ServiceJson, { current, ended }: Place): boolean {
  const condition = service.Spec.TaskTemplate?.RestartPolicy?.Condition ?? 'any';
  return !current && condition !== 'any' && ended?.Status.State === 'complete';
}

/** It has failed for good: its restart policy gives it no further try. */
function hasGivenUp(service: ServiceJson, { current, ended, endedCount }: Place): boolean {
  const { Condition = 'any', MaxAttempts = 0 } = service.Spec.TaskTemplate?.RestartPolicy ?? {};
  if (current || !ended || ended.Status.State === 'shutdown') return false;
  if (Condition !== 'any' && ended.Status.State === 'complete') return false;
  return Condition === 'none' || (MaxAttempts > 0 && endedCount > MaxAttempts);
}

/** What a place that does not run waits for, or why what was there before has ended. */
function reasonOf({ current, ended }: Place): string | undefined {
  if (current?.Status.State === 'running') return undefined;
  return current?.Status.Err || ended?.Status.Err || undefined;
}

function wantedCount(service: ServiceJson, nodes: readonly NodeJson[]): number {
  const replicas = service.Spec.Mode?.Replicated?.Replicas;
  if (replicas !== undefined) return replicas;
  return nodes.filter(({ Status, Spec }) => Status.State === 'ready' && Spec.Availability === 'active')
    .length;
}

function slotLines(service: ServiceJson, places: ReadonlyMap<string, Place>, total: number): string[] {
  if (service.Spec.Mode?.Global) {
    return [...places].map(([key, place]) => `${key.slice(0, 12)}: ${describe(place)}`);
  }
  const width = String(total).length;
  return Array.from({ length: total }, (_, index) => {
    const place = places.get(String(index + 1));
    return `${String(index + 1).padStart(width)}/${total}: ${place ? describe(place) : ''}`;
  });
}

function describe(place: Place): string {
  const reason = reasonOf(place);
  if (reason !== undefined) return reason;
  const state = (place.current ?? place.ended)?.Status.State ?? '';
  const step = STATES.indexOf(state);
  if (step < 0) return state;
  const filled = Math.round(((step + 1) / STATES.length) * BAR_LENGTH);
  const bar = `${'='.repeat(Math.max(0, filled - 1))}>`.padEnd(BAR_LENGTH);
  return `${state.padEnd(9)} [${bar}]`;
}

function failureOf(service: ServiceJson, places: ReadonlyMap<string, Place>): string | undefined {
  const { UpdateStatus } = service;
  switch (UpdateStatus?.State) {
    case 'paused':
      return `service update paused: ${UpdateStatus.Message}`;
    case 'rollback_paused':
      return `service rollback paused: ${UpdateStatus.Message}`;
    case 'rollback_completed':
      return `service rolled back: ${UpdateStatus.Message}`;
  }
  for (const [key, place] of places) {
    if (!hasGivenUp(service, place)) continue;
    const why = place.ended?.Status.Err || place.ended?.Status.State;
    return `task ${service.Spec.Name}.${key} has ended and is not restarted: ${why}`;
  }
  return undefined;
}
