import { type Clock, delay, type Logger } from '@tessera/shared/env';
import {
  type ContainerState,
  isBefore,
  isTerminal,
  type TaskState,
  type TaskStatus,
  type VolumeState,
} from '@tessera/shared/model';
import type { StatusBatch } from '@tessera/shared/wire';
import type { LeaderDecisions } from '../loops/decisions.js';
import { volumeStateId } from '../store/kinds.js';
import type { Store, Transaction } from '../store/view.js';
import type { Session } from './session.js';

/**
 * etcd takes 128 operations or compares a transaction: each status is one, each session one compare, and so is each
 * placement that a container's state rests on.
 */
const TXN_SIZE_MAX = 90;
/** Statuses waiting for the store. Beyond it a session ends; its agent reports everything again. */
const QUEUE_MAX = 50_000;
const TEXT_MAX = 4_096;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;

interface Batch {
  readonly number: number;
  left: number;
}
interface Entry {
  readonly session: Session;
  readonly batch: Batch;
  readonly report: Report;
}
type Report =
  | { readonly kind: 'task'; readonly status: TaskStatus }
  | { readonly kind: 'container'; readonly state: ContainerState }
  | { readonly kind: 'volume'; readonly state: VolumeState };
/** `parked`: the session's key is not in the store right now; it waits until it is again. */
type Outcome = 'written' | 'refused' | 'parked';

export interface StatusWriterOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether this is still the session of its node on this manager. */
  readonly isCurrent: (session: Session) => boolean;
  /** While this manager leads. */
  readonly decisions: () => LeaderDecisions | undefined;
  readonly signal: AbortSignal;
}

/**
 * Puts what agents report into the store, many statuses a transaction, one transaction at a time, each
 * under the condition that the reporting session still holds its node.
 */
export class StatusWriter {
  #queue: Entry[] = [];
  #parked: Entry[] = [];
  #running = false;

  constructor(private readonly options: StatusWriterOptions) {}

  /** @returns false when too many are waiting: nothing has been taken */
  add(session: Session, { number, statuses, containers, volumes }: StatusBatch): boolean {
    const reports: Report[] = [
      ...statuses.map((status): Report => ({ kind: 'task', status })),
      // A container that is there has its volumes.
      ...volumes.map((state): Report => ({ kind: 'volume', state: { ...state, nodeId: session.nodeId } })),
      ...containers.map((state): Report => ({ kind: 'container', state })),
    ];
    if (this.#queue.length + this.#parked.length + reports.length > QUEUE_MAX) return false;
    const batch = { number, left: reports.length };
    for (const report of reports) this.#queue.push({ session, batch, report });
    if (reports.length === 0) acknowledge(session, batch);
    this.#start();
    return true;
  }

  /** A session's key has been written: what was parked may go on. */
  unpark(): void {
    if (this.#parked.length === 0) return;
    this.#queue = [...this.#parked.splice(0), ...this.#queue];
    this.#start();
  }

  #start(): void {
    if (this.#running || this.#queue.length === 0) return;
    this.#running = true;
    void this.#run().finally(() => {
      this.#running = false;
    });
  }

  async #run(): Promise<void> {
    let failures = 0;
    // The other end of the first microtask: batches that come in one turn share a transaction.
    await Promise.resolve();
    while (this.#queue.length > 0 && !this.options.signal.aborted) {
      const entries = this.#take();
      try {
        this.#settle(entries, await this.#write(entries));
        failures = 0;
      } catch (error) {
        this.#queue = [...entries, ...this.#queue];
        const retryMs = Math.min(RETRY_MIN_MS * 2 ** failures++, RETRY_MAX_MS);
        this.options.logger.warn({ error, waiting: this.#queue.length }, 'statuses not stored, trying again');
        await delay(this.options.clock, retryMs, this.options.signal).catch(() => {});
      }
    }
  }

  #take(): Entry[] {
    const entries: Entry[] = [];
    const named = new Set<string>();
    let taken = 0;
    for (const entry of this.#queue) {
      const names = [...keysOf(entry.report), `node ${entry.session.nodeId}`];
      const more = names.filter((name) => !named.has(name));
      if (named.size + more.length > TXN_SIZE_MAX) break;
      taken++;
      if (!this.options.isCurrent(entry.session)) continue;
      for (const name of more) named.add(name);
      entries.push(entry);
    }
    this.#queue = this.#queue.slice(taken);
    return entries;
  }

  async #write(entries: readonly Entry[]): Promise<Outcome[]> {
    const decisions = this.options.decisions();
    const isLast = entries.map((entry) => decisions !== undefined && this.#saysNoMoreThanGone(entry));
    const others = entries.filter((_, index) => !isLast[index]);
    const outcomes = new Map<Entry, Outcome>();
    const write = async () => {
      if (others.length === 0) return;
      const written = await this.options.store.update((tx) => others.map((each) => this.#writeOne(tx, each)));
      for (const [index, entry] of others.entries()) outcomes.set(entry, written[index]!);
    };
    const reap = async (entry: Entry, id: string) => {
      const outcome = await decisions!.store.update((tx) => {
        const written = this.#writeOne(tx, entry);
        if (written === 'written') decisions!.reap(tx, id);
        return written;
      });
      outcomes.set(entry, outcome);
    };
    const reaped = entries.flatMap((entry, index) =>
      isLast[index] && entry.report.kind === 'container' ? [reap(entry, entry.report.state.containerId)] : [],
    );
    await Promise.all([write(), ...reaped]);
    return entries.map((entry) => outcomes.get(entry)!);
  }

  /**
   * All but that it has gone has been stored, and so seen by every manager: its object may go with the same write. What
   * else the state says, its end or an answer, must be seen before.
   */
  #saysNoMoreThanGone({ report }: Entry): boolean {
    if (report.kind !== 'container' || report.state.state !== 'removed') return false;
    const { state } = report;
    const stored = this.options.store.view().containerStates.get(state.containerId);
    return (
      stored !== undefined &&
      stored.starts === state.starts &&
      stored.exits === state.exits &&
      stored.generation === state.generation
    );
  }

  #writeOne(tx: Transaction, { session, report }: Entry): Outcome {
    if (tx.sessions.get(session.nodeId)?.sessionId !== session.sessionId) return 'parked';
    switch (report.kind) {
      case 'task':
        return this.#writeTask(tx, session, report.status);
      case 'container':
        return this.#writeContainer(tx, session, report.state);
      case 'volume':
        return this.#writeVolume(tx, session, report.state);
    }
  }

  #writeTask(tx: Transaction, session: Session, status: TaskStatus): Outcome {
    const task = tx.tasks.get(status.taskId);
    if (task?.nodeId !== session.nodeId || task.state === 'orphaned') return 'refused';
    const before = tx.taskStatuses.get(status.taskId);
    if (!isAgents(status.state) || !follows(status, before)) return 'refused';
    tx.require('sessions', session.nodeId);
    tx.put('taskStatuses', {
      ...status,
      nodeId: session.nodeId,
      message: status.message.slice(0, TEXT_MAX),
      error: status.error.slice(0, TEXT_MAX),
    });
    return 'written';
  }

  #writeContainer(tx: Transaction, session: Session, state: ContainerState): Outcome {
    const { containerId } = state;
    if (!tx.containers.get(containerId)) return 'refused';
    const placement = tx.containerPlacements.get(containerId);
    // One that has moved away, and back, says nothing of what it is now.
    if (placement?.nodeId !== session.nodeId || placement.epoch !== state.epoch) return 'refused';
    if (state.sequence <= (tx.containerStates.get(containerId)?.sequence ?? 0)) return 'refused';
    tx.require('sessions', session.nodeId);
    // A container that is deleted meanwhile must not leave a state behind.
    tx.require('containerPlacements', containerId);
    tx.put('containerStates', {
      ...state,
      nodeId: session.nodeId,
      error: state.error.slice(0, TEXT_MAX),
      generationError: state.generationError.slice(0, TEXT_MAX),
    });
    return 'written';
  }

  #writeVolume(tx: Transaction, session: Session, state: VolumeState): Outcome {
    const before = tx.volumeStates.get(volumeStateId(state));
    // Once more: the volume is forgotten already.
    const isForgotten = state.state === 'removed' && !before && !tx.volumes.get(state.volumeId);
    const isOrdered = [...tx.volumes.all()].some(
      ({ name, nodeId, removing }) => removing && nodeId === session.nodeId && name === state.name,
    );
    if (state.sequence <= (before?.sequence ?? 0) || (isForgotten && !isOrdered)) return 'refused';
    tx.require('sessions', session.nodeId);
    tx.put('volumeStates', { ...state, error: state.error.slice(0, TEXT_MAX) });
    return 'written';
  }

  #settle(entries: readonly Entry[], outcomes: readonly Outcome[]): void {
    entries.forEach((entry, index) => {
      if (outcomes[index] === 'parked') this.#parked.push(entry);
      else if (--entry.batch.left === 0) acknowledge(entry.session, entry.batch);
    });
    this.#parked = this.#parked.filter(({ session }) => this.options.isCurrent(session));
  }
}

/** The keys that a report writes or rests on, beside its session's. */
function keysOf(report: Report): string[] {
  switch (report.kind) {
    case 'task':
      return [`task ${report.status.taskId}`];
    case 'container':
      return [`container ${report.state.containerId}`, `placement ${report.state.containerId}`];
    case 'volume':
      return [`volume ${volumeStateId(report.state)}`];
  }
}

const acknowledge = (session: Session, { number }: Batch): void => {
  session.send({ $case: 'statusAck', value: { number } });
};

/** A state that an agent may report; the others are the manager's. */
const isAgents = (state: TaskState): boolean => !isBefore(state, 'assigned') && isBefore(state, 'orphaned');

/** Statuses come late and twice: a state never goes back, and what has ended stays as it ended. */
function follows(status: TaskStatus, before: TaskStatus | undefined): boolean {
  if (!before) return true;
  if (isTerminal(before.state) || isBefore(status.state, before.state)) return false;
  return status.state !== before.state || status.atMs >= before.atMs;
}
