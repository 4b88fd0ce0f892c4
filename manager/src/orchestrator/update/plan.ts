import {
  isTerminal,
  type Service,
  type ServiceStatus,
  UpdateConfig,
  UpdateStatus,
} from '@tessera/shared/model';
import { isWanted } from '../../loops/facts.js';
import { earliest } from '../earliest.js';
import { NO_RESTARTS } from '../restart/policy.js';
import { nextTask, replaceIn, type SlotContext } from '../slot-plan.js';
import { isRunning, ranForMs, runningSinceMs, type Slot, type TaskFacts, wantedIn } from '../slots.js';
import type { TaskChange } from '../task-change.js';

export interface UpdatePlan {
  readonly changes: readonly TaskChange[];
  /** The status to write; undefined while it says what is so already. */
  readonly status: UpdateStatus | undefined;
  /** The spec before is to be put back: the new one failed, and the user asked for that. */
  readonly rollBack: boolean;
  readonly wakeAtMs: number | undefined;
}

/** Docker's default for a service that says nothing: one task at a time, and stop at the first failure. */
const CONFIG_DEFAULT = UpdateConfig.fromPartial({
  parallelism: 1,
  failureAction: 'pause',
  order: 'stop_first',
});
const MONITOR_DEFAULT_MS = 5_000;
const NO_STATUS = UpdateStatus.create();

/**
 * Brings a service's tasks to its current template, a few at a time.
 *
 * Nothing is remembered but what the status and the tasks say, so a new leader goes on where the last one was.
 *
 * @param stable the slots that need nothing else in this pass
 * @param held all slots of the service
 * Source: swarmkit manager/orchestrator/update
 */
export function planUpdate(
  service: Service,
  serviceStatus: ServiceStatus | undefined,
  held: readonly Slot[],
  stable: readonly Slot[],
  context: SlotContext,
): UpdatePlan {
  const outdated = held.filter((slot) => isOutdated(slot, context));
  const before = serviceStatus?.update ?? NO_STATUS;
  const status = withFailures(current(before, service, outdated.length > 0, context), service, held, context);
  const config = configFor(status, service);
  if (status.state === 'none')
    return { changes: [], status: undefined, rollBack: false, wakeAtMs: undefined };
  if (!isUnderWay(status)) return { ...nothing(before, status), rollBack: false };
  if (hasFailed(status, config, held)) return stop(status, config, service, held, context);

  const unsettled = held.map((slot) => unsettledUntilMs(slot, config.delayMs, context));
  const busy = unsettled.filter((untilMs) => untilMs !== undefined);
  const room = config.parallelism === 0 ? held.length : Math.max(0, config.parallelism - busy.length);
  const next = stable
    .filter((slot) => isOutdated(slot, context) && !isBeingReplaced(slot, context))
    .sort((a, b) => Number(wantedIn(a).some(isRunning)) - Number(wantedIn(b).some(isRunning)))
    .slice(0, room);
  const changes = next.flatMap((slot) => replaceSlot(slot, config, context));
  if (outdated.length > 0) {
    return { changes, status: changed(before, status), rollBack: false, wakeAtMs: soonest(busy) };
  }
  const unverified = held
    .map((slot) => unsettledUntilMs(slot, monitorMs(config), context))
    .filter((untilMs) => untilMs !== undefined);
  if (unverified.length > 0) {
    return { changes, status: changed(before, status), rollBack: false, wakeAtMs: soonest(unverified) };
  }
  return { changes, status: completed(status, context.nowMs), rollBack: false, wakeAtMs: undefined };
}

const isOutdated = ({ latest }: Slot, { specVersion }: SlotContext): boolean =>
  latest.task.specVersion !== specVersion;

/** A start-first pair: the newer task is of this template already, or on the way to it. */
const isBeingReplaced = (slot: Slot, context: SlotContext): boolean =>
  wantedIn(slot).some(({ task }) => task.specVersion === context.specVersion);

const isUnderWay = ({ state }: UpdateStatus): boolean => state === 'updating' || state === 'rollback_started';

const configFor = ({ state }: UpdateStatus, { spec }: Service): UpdateConfig =>
  (state === 'rollback_started' ? spec?.rollback : spec?.update) ?? CONFIG_DEFAULT;

const monitorMs = ({ monitorMs }: UpdateConfig): number => monitorMs || MONITOR_DEFAULT_MS;

/** The update that the user's last write began, if it changed the template; what an earlier one came to is past. */
function current(
  before: UpdateStatus,
  service: Service,
  isAnyOutdated: boolean,
  context: SlotContext,
): UpdateStatus {
  const serviceIndex = service.meta?.index ?? 0;
  // Who writes a roll-back, the leader or the API, cannot know the index of the write.
  if (before.state === 'rollback_started' && before.serviceIndex === 0) return { ...before, serviceIndex };
  if (before.serviceIndex === serviceIndex || !isAnyOutdated) return before;
  return UpdateStatus.fromPartial({
    state: 'updating',
    startedAtMs: context.nowMs,
    message: 'update in progress',
    serviceIndex,
  });
}

/** Notes the slots whose new task ended while it was still being watched. */
function withFailures(
  status: UpdateStatus,
  service: Service,
  held: readonly Slot[],
  context: SlotContext,
): UpdateStatus {
  if (!isUnderWay(status)) return status;
  const config = configFor(status, service);
  const failed = held
    .filter(({ latest }) => endedEarly(latest, monitorMs(config), context))
    .map(({ key }) => key);
  const failedSlots = [...new Set([...status.failedSlots, ...failed])];
  return failedSlots.length === status.failedSlots.length ? status : { ...status, failedSlots };
}

function endedEarly(facts: TaskFacts, withinMs: number, { specVersion }: SlotContext): boolean {
  const { task, observed } = facts;
  if (task.specVersion !== specVersion || !isWanted(task) || !isTerminal(observed)) return false;
  return observed !== 'orphaned' && ranForMs(facts) < withinMs;
}

function hasFailed(status: UpdateStatus, config: UpdateConfig, held: readonly Slot[]): boolean {
  if (config.failureAction === 'proceed' || status.failedSlots.length === 0) return false;
  return status.failedSlots.length / Math.max(1, held.length) > config.maxFailureRatio;
}

function stop(
  status: UpdateStatus,
  config: UpdateConfig,
  service: Service,
  held: readonly Slot[],
  context: SlotContext,
): UpdatePlan {
  const failed = held.find(({ latest }) => endedEarly(latest, monitorMs(config), context));
  const why = `due to failure or early termination of task ${failed?.latest.task.id ?? ''}`.trimEnd();
  const isRollback = status.state === 'rollback_started';
  if (config.failureAction === 'rollback' && !isRollback && service.previousSpec) {
    const next: UpdateStatus = {
      ...status,
      state: 'rollback_started',
      startedAtMs: context.nowMs,
      message: `update rolled back ${why}`,
      failedSlots: [],
      serviceIndex: 0,
    };
    return { changes: [], status: next, rollBack: true, wakeAtMs: undefined };
  }
  const paused: UpdateStatus = isRollback
    ? { ...status, state: 'rollback_paused', message: `rollback paused ${why}` }
    : { ...status, state: 'paused', message: `update paused ${why}` };
  return { changes: [], status: paused, rollBack: false, wakeAtMs: undefined };
}

function completed(status: UpdateStatus, nowMs: number): UpdateStatus {
  return status.state === 'rollback_started'
    ? { ...status, state: 'rollback_completed', completedAtMs: nowMs, message: 'rollback completed' }
    : { ...status, state: 'completed', completedAtMs: nowMs, message: 'update completed' };
}

/**
 * Until when a slot's new task takes up one of the places of the update: while it comes up, and `forMs` longer.
 * Infinity while that depends on its agent; undefined when it takes none. One that failed takes none either: it
 * has been counted, and its restarts are nobody's concern here.
 */
function unsettledUntilMs(slot: Slot, forMs: number, context: SlotContext): number | undefined {
  const { latest } = slot;
  if (isOutdated(slot, context) || !isWanted(latest.task) || isTerminal(latest.observed)) return undefined;
  if (latest.task.failureStreak > 0) return undefined;
  const sinceMs = runningSinceMs(latest);
  if (sinceMs === undefined) return Number.POSITIVE_INFINITY;
  // A node whose clock is ahead must not hold up the update.
  const untilMs = Math.min(sinceMs, context.nowMs) + forMs;
  const isAhead = sinceMs > context.nowMs;
  return untilMs > context.nowMs && !isAhead ? untilMs : undefined;
}

function replaceSlot(slot: Slot, config: UpdateConfig, context: SlotContext): readonly TaskChange[] {
  const wanted = wantedIn(slot).map(({ task }) => task);
  // Where nothing runs there is nothing to keep running meanwhile.
  if (config.order === 'start_first' && wantedIn(slot).some(isRunning)) {
    return [{ kind: 'create', create: nextTask(slot, [], NO_RESTARTS, context) }];
  }
  return replaceIn(slot, wanted, NO_RESTARTS, context).changes;
}

const soonest = (times: readonly number[]): number | undefined => earliest(times.filter(Number.isFinite));

/** The status, if it says anything new. */
const changed = (before: UpdateStatus, status: UpdateStatus): UpdateStatus | undefined =>
  before === status ? undefined : status;

const nothing = (before: UpdateStatus, status: UpdateStatus) => ({
  changes: [],
  status: changed(before, status),
  wakeAtMs: undefined,
});
