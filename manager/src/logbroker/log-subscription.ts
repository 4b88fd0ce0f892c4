import type { Clock } from '@tessera/shared/env';
import { ClusterError, errorText, notFound } from '@tessera/shared/errors';
import { type Container, isTerminal, type Task } from '@tessera/shared/model';
import type { Frame, LogRecord, LogsRequest } from '@tessera/shared/wire';
import { asTask } from '../loops/containers.js';
import type { Store, View } from '../store/view.js';
import type { SideStream, SideStreams } from '../streams/index.js';
import type { LogEntry, LogOptions, LogSelector } from './log-broker.js';
import { RecordMerge } from './merge.js';

/** Before what broke while following is taken up again; twice as long after each attempt that showed nothing. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;
/** Reading history, a stream that shows nothing for so long is given up. */
const STALL_MAX_MS = 20_000;
const NS_PER_SECOND = 1_000_000_000n;

export interface SubscriptionOptions {
  readonly store: Store;
  readonly streams: SideStreams;
  readonly clock: Clock;
  readonly selector: LogSelector;
  readonly options: LogOptions;
  readonly signal: AbortSignal;
}

/** One reader's logs: which tasks are being read, from where, and what could not be. */
export class LogSubscription {
  readonly #merge: RecordMerge;
  /** Tasks whose logs are being read or have been read to their end. */
  readonly #covered = new Map<string, Task>();
  /** Time of the last record given out, of tasks that are being followed. */
  readonly #lastNs = new Map<string, bigint>();
  readonly #missing: LogEntry[] = [];
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  readonly #retries = new Set<() => void>();
  /** Nodes of which it has been said that they cannot be read: once is enough until they can again. */
  readonly #unreadable = new Set<string>();
  /** How long the next attempt to read of a node waits, when its last one broke. */
  readonly #retryMs = new Map<string, number>();

  constructor(private readonly env: SubscriptionOptions) {
    this.#merge = new RecordMerge(!env.options.follow);
    this.#signal = AbortSignal.any([env.signal, this.#ended.signal]);
  }

  async *entries(): AsyncGenerator<LogEntry> {
    const { store, options, signal } = this.env;
    const view = await store.read(signal);
    this.#assertExists(view);
    const unsubscribe = options.follow ? store.subscribe((_, next) => this.#cover(next)) : () => {};
    const onAbort = () => this.#merge.nudge();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      this.#cover(view);
      while (!signal.aborted) {
        yield* this.#missing.splice(0);
        const record = await this.#merge.next();
        if (record) yield* this.#entryOf(record);
        else if (this.#missing.length === 0 && this.#isOver()) return;
      }
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
      for (const cancel of this.#retries) cancel();
      this.#ended.abort(new ClusterError('cancelled', 'the reader has gone'));
      await this.#merge.close();
    }
  }

  #assertExists(view: View): void {
    const { selector } = this.env;
    if (selector.kind === 'service') {
      if (!view.services.get(selector.serviceId)) throw notFound('service', selector.serviceId);
      return;
    }
    if (selector.kind === 'container') {
      const { containerId } = selector;
      if (!view.containers.get(containerId))
        throw new ClusterError('notFound', `No such container: ${containerId}`);
      return;
    }
    for (const id of selector.taskIds) if (!view.tasks.get(id)) throw notFound('task', id);
  }

  /** Starts reading every task that has something to say and is not being read yet. */
  #cover(view: View): void {
    const byNode = new Map<string, Task[]>();
    for (const task of this.#tasks(view)) {
      if (this.#covered.has(task.id) || !hasStarted(view, task)) continue;
      this.#covered.set(task.id, task);
      byNode.set(task.nodeId, [...(byNode.get(task.nodeId) ?? []), task]);
    }
    for (const [nodeId, tasks] of byNode) this.#read(nodeId, tasks);
    if (this.env.options.follow) this.#merge.nudge();
  }

  #tasks(view: View): readonly Task[] {
    const { selector } = this.env;
    switch (selector.kind) {
      case 'service':
        return view.tasks.byService(selector.serviceId);
      case 'tasks':
        return selector.taskIds.flatMap((id) => view.tasks.get(id) ?? []);
      case 'container': {
        const container = view.containers.get(selector.containerId);
        return container ? [containerAsTask(view, container)] : [];
      }
    }
  }

  /** Tasks that go on after an interruption each have a place of their own to go on from. */
  #read(nodeId: string, tasks: readonly Task[]): void {
    const fresh = tasks.filter(({ id }) => !this.#lastNs.has(id));
    const groups = tasks.filter(({ id }) => this.#lastNs.has(id)).map((task) => [task]);
    if (fresh.length > 0) groups.push(fresh);
    for (const group of groups) this.#merge.add(this.#source(nodeId, group));
  }

  async *#source(nodeId: string, tasks: readonly Task[]): AsyncGenerator<readonly LogRecord[]> {
    const taskIds = tasks.map(({ id }) => id);
    let stream: SideStream | undefined;
    try {
      const value = this.#request(taskIds);
      stream = await this.env.streams.requestStream(nodeId, { $case: 'logs', value }, this.#signal);
      this.#unreadable.delete(nodeId);
      for await (const { body } of this.#patiently(stream)) {
        this.#retryMs.delete(nodeId);
        if (body?.$case === 'logs') yield body.value.records;
      }
    } catch (error) {
      if (!this.#signal.aborted) this.#interrupted(nodeId, taskIds, error);
    } finally {
      stream?.close();
    }
  }

  /** A stream's frames; reading history, one that stalls ends with an error. */
  async *#patiently(stream: SideStream): AsyncGenerator<Frame> {
    if (this.env.options.follow) return yield* stream.frames;
    const stalled = new ClusterError('deadlineExceeded', `nothing came for ${STALL_MAX_MS / 1_000} s`);
    const restart = () => this.env.clock.after(STALL_MAX_MS, () => stream.close(stalled));
    let cancel = restart();
    try {
      for await (const frame of stream.frames) {
        cancel();
        yield frame;
        cancel = restart();
      }
    } finally {
      cancel();
    }
  }

  #request(taskIds: readonly string[]): LogsRequest {
    const { follow, tail, sinceNs, untilNs, stdout, stderr } = this.env.options;
    const lastNs = taskIds.length === 1 ? this.#lastNs.get(taskIds[0]!) : undefined;
    const since = lastNs === undefined ? (sinceNs ?? 0n) : lastNs + 1n;
    const until = untilNs ?? 0n;
    return {
      taskIds: [...taskIds],
      follow,
      tail: lastNs === undefined ? tail : -1,
      sinceSeconds: Number(since / NS_PER_SECOND),
      sinceNanos: Number(since % NS_PER_SECOND),
      untilSeconds: Number(until / NS_PER_SECOND),
      untilNanos: Number(until % NS_PER_SECOND),
      stdout,
      stderr,
    };
  }

  #interrupted(nodeId: string, taskIds: readonly string[], error: unknown): void {
    if (!this.#unreadable.has(nodeId)) {
      const name = this.env.store.view().nodes.get(nodeId)?.name || nodeId;
      const message = `logs of node ${name} are incomplete: ${errorText(error)}`;
      this.#missing.push({ kind: 'missing', nodeId, taskIds, message });
      this.#unreadable.add(nodeId);
    }
    if (!this.env.options.follow) return;
    const delayMs = this.#retryMs.get(nodeId) ?? RETRY_MIN_MS;
    this.#retryMs.set(nodeId, Math.min(2 * delayMs, RETRY_MAX_MS));
    const cancel = this.env.clock.after(delayMs, () => {
      this.#retries.delete(cancel);
      for (const id of taskIds) this.#covered.delete(id);
      this.#cover(this.env.store.view());
    });
    this.#retries.add(cancel);
  }

  *#entryOf(record: LogRecord): Generator<LogEntry> {
    const task = this.#covered.get(record.taskId);
    if (!task) return;
    if (this.env.options.follow)
      this.#lastNs.set(task.id, BigInt(record.seconds) * NS_PER_SECOND + BigInt(record.nanos));
    yield { kind: 'record', task, record };
  }

  #isOver(): boolean {
    if (this.#merge.size > 0) return false;
    const { store, selector, options } = this.env;
    if (!options.follow) return true;
    const view = store.view();
    if (selector.kind === 'service') return !view.services.get(selector.serviceId);
    if (selector.kind === 'container') return this.#retries.size === 0;
    // A task that has yet to start, or whose stream broke, may still have something to say.
    return selector.taskIds.every((id) => {
      const status = view.taskStatuses.get(id);
      return !view.tasks.get(id) || (this.#retries.size === 0 && status && isTerminal(status.state));
    });
  }
}

/** A container was made for it, so there may be a log. */
const hasStarted = (view: View, { id }: Task): boolean =>
  view.taskStatuses.get(id)?.container !== undefined || (view.containerStates.get(id)?.starts ?? 0) > 0;

/** Under its own id, which stands for the container where its node is asked. */
const containerAsTask = (view: View, container: Container): Task => ({
  ...asTask(container, view.containerPlacements.get(container.id)?.nodeId ?? ''),
  id: container.id,
});
