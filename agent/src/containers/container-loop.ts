import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { errorKindOf, errorText, isTemporary } from '@tessera/shared/errors';
import type { ContainerState, ContainerTarget } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { parseSignal } from '../executor/container/signals.js';
import { StartError } from '../executor/executor.js';
import type { Exec } from '../executor/live-container.js';
import type { ContainerStorage, StoredContainer } from '../storage/index.js';
import { Condition } from '../task/condition.js';
import { healthPlan, monitorHealth, STARTING } from './health.js';
import { isUp, plan, type Refusal, type Step } from './plan.js';
import * as progress from './progress.js';
import type { ContainerRuntime, RuntimeContainer } from './runtime.js';
import { Teller } from './teller.js';

const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 15_000;
/** How long a create goes on trying what fails for now, such as an image that no peer has yet. */
const CREATE_MS = 60_000;
/** Docker's code for a start that failed in another way than its command's. */
const EXIT_UNKNOWN = 128;
const SIGKILL = 9;

export interface ContainerLoopOptions {
  readonly runtime: ContainerRuntime;
  readonly storage: ContainerStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Runs a start in turn with others. */
  readonly inTurn: <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>;
  readonly onState: (state: ContainerState) => void;
  /** Whether clients are attached, or still to be served what it wrote last. */
  readonly isAttached: () => boolean;
  /** Whether a manager has told this agent, since it began, what is assigned to its node. */
  readonly isConfirmed: () => boolean;
}

/** Takes one container from where it is towards where it is wanted: one step at a time, each planned anew. */
export class ContainerLoop {
  readonly runtime: RuntimeContainer;
  readonly finished: Promise<void>;
  readonly #changed = new Condition();
  readonly #closing = new AbortController();
  #stored: StoredContainer;
  #assigned = true;
  /** Counts what may make another step due. */
  #version = 0;
  #acknowledged = 0;
  #underWay: { readonly step: Step; readonly abort: AbortController } | undefined;
  #watched = false;
  #retryMs = RETRY_MIN_MS;
  #createUntilMs: number | undefined;
  readonly #teller: Teller;

  constructor(
    readonly id: string,
    stored: StoredContainer,
    private readonly options: ContainerLoopOptions,
  ) {
    this.#stored = stored;
    this.runtime = options.runtime.container(id);
    this.#teller = new Teller(options.clock, () => options.onState(this.#stored.state));
    for (const exec of this.runtime.execs()) if (exec.status().state === 'running') this.followExec(exec);
    this.finished = this.#run().finally(() => this.#teller.close());
  }

  get state(): ContainerState {
    return this.#stored.state;
  }

  get assignment(): ContainerAssignment {
    return this.#stored.assignment;
  }

  get isRemoved(): boolean {
    return this.#stored.memory.removed;
  }

  /** Takes the manager's latest word on the container. */
  update(assignment: ContainerAssignment): void {
    this.#assigned = true;
    if (this.#stored.assignment === assignment) return;
    const before = this.#stored.assignment.container?.target?.generation ?? 0;
    this.#put({ ...this.#stored, assignment });
    const { removing, target } = assignment.container!;
    this.#interrupt(removing, (target?.generation ?? 0) > before);
  }

  /** Its object is gone, or it is no longer of this node: everything of it goes. Resolves when it has. */
  async dismiss(): Promise<void> {
    this.#assigned = false;
    this.#interrupt(true, false);
    await this.finished;
  }

  /** A manager has stored the state of this sequence number, and what happened up to it. */
  acknowledge(sequence: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, sequence);
  }

  /** Something it waits for may have changed. */
  wake(): void {
    this.#version++;
    this.#changed.notify();
  }

  /** A signal from the user. It counts as a stop when it is the one that ends it, or none is said to. */
  async kill(signal: number, isFinal: boolean): Promise<void> {
    const isRestarting = this.#stored.memory.restartAtMs !== undefined;
    const atMs = this.options.clock.now();
    this.#advance(progress.killedByUser(this.#stored, isFinal));
    this.wake();
    if (isRestarting) return;
    await this.runtime.kill(signal);
    this.note('kill', { signal: String(signal) }, atMs);
  }

  /**
   * Writes down what happened to it, for those who watch events. It is told of soon, or with the next state.
   * @param action in Docker's words, with Docker's attributes beside those that every event has
   */
  note(
    action: string,
    attributes: Readonly<Record<string, string>> = {},
    atMs = this.options.clock.now(),
  ): void {
    if (this.isRemoved || this.#closing.signal.aborted) return;
    this.#advance(progress.noted(this.#stored, action, attributes, atMs), true);
    this.#teller.soon();
  }

  /** Notes the end of a process that was added to it. */
  followExec(exec: Pick<Exec, 'id' | 'wait'>): void {
    exec.wait(this.#closing.signal).then(
      (exitCode) => this.note('exec_die', { execID: exec.id, exitCode: String(exitCode) }),
      () => undefined,
    );
  }

  /** Leaves the container as it is, for the next agent: what runs goes on running. */
  async close(): Promise<void> {
    this.#closing.abort(reason());
    this.#underWay?.abort.abort(reason());
    await this.finished;
  }

  /** Aborts work that no longer leads anywhere. */
  #interrupt(isGoing: boolean, isNewer: boolean): void {
    const kind = this.#underWay?.step.kind;
    const isStart = kind === 'create' || kind === 'start';
    if ((isGoing && kind !== 'remove') || (isNewer && isStart)) this.#underWay?.abort.abort(reason());
    this.wake();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const step = plan(this.#view());
      const abort = new AbortController();
      this.#underWay = { step, abort };
      try {
        if (step.kind === 'forget') return this.options.storage.delete(this.id);
        await this.#take(step, abort.signal);
        if (step.kind !== 'wait') this.#retryMs = RETRY_MIN_MS;
      } catch (error) {
        if (!abort.signal.aborted) await this.#failed(step, error, abort.signal);
      }
      this.#underWay = undefined;
    }
  }

  #view() {
    return {
      ...this.#stored,
      assigned: this.#assigned,
      life: this.runtime.life,
      nowMs: this.options.clock.now(),
      isConfirmed: this.options.isConfirmed(),
      isAttached: this.options.isAttached(),
    };
  }

  async #take(step: Exclude<Step, { kind: 'forget' }>, signal: AbortSignal): Promise<void> {
    const { runtime } = this;
    const { assignment } = this.#stored;
    switch (step.kind) {
      case 'create':
        this.#createUntilMs ??= this.options.clock.monotonic() + CREATE_MS;
        await runtime.create(assignment, signal);
        this.#createUntilMs = undefined;
        if (this.#stored.memory.arriving) this.#advance(progress.arrived(this.#stored, this.runtime.labels));
        return;
      case 'noteStart':
        return this.#noteStart(step.answers);
      case 'noteExit':
        return this.#noteExit();
      case 'begin':
        return this.#advance(progress.begun(this.#stored));
      case 'start':
        return this.options.inTurn(() => runtime.start(assignment, signal), signal);
      case 'stop':
        return this.#stop(step.target, signal);
      case 'pause':
        await runtime.pause();
        return this.#advance({ ...this.#stored, state: { ...this.#stored.state, state: 'paused' } });
      case 'unpause':
        await runtime.unpause();
        return this.#advance({ ...this.#stored, state: { ...this.#stored.state, state: 'running' } });
      case 'update':
        await runtime.update(assignment);
        if (this.#hasPolicy) await runtime.persist();
        return this.#answer();
      case 'answer':
        return this.#answer(step.refusal);
      case 'giveUpRestart':
        return this.#advance(progress.restartGivenUp(this.#stored));
      case 'remove':
        if (isUp(this.runtime.life)) this.note('kill', { signal: String(SIGKILL) });
        await runtime.remove();
        return this.#advance(progress.removed(this.#stored, this.options.clock.now()));
      case 'wait':
        return this.#wait(step.untilMs, signal);
    }
  }

  async #stop({ stopSignal, stopTimeoutMs }: ContainerTarget, signal: AbortSignal): Promise<void> {
    const { runtime } = this;
    const number = stopSignal ? parseSignal(stopSignal) : runtime.stopSignal;
    this.note('kill', { signal: String(number) });
    await runtime.stop({ signal: stopSignal, timeoutMs: stopTimeoutMs }, signal);
    const { life } = runtime;
    // Its time was up: a program that ends by itself does so with another code.
    if (number !== SIGKILL && life.kind === 'exited' && life.exit.exitCode === 128 + SIGKILL)
      this.note('kill', { signal: String(SIGKILL) }, life.exit.finishedAtMs);
  }

  /** Decides what a failed step means: an answer to the user, another attempt, or the end of the attempts. */
  async #failed(step: Step, error: unknown, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.options;
    const refusal: Refusal = { kind: refusalKind(error), message: errorText(error) };
    switch (step.kind) {
      case 'create':
        if (this.#stored.memory.arriving) return this.#notArrived(refusal, signal);
        if (isTemporary(error) && clock.monotonic() < (this.#createUntilMs ?? 0)) return this.#retry(signal);
        this.#createUntilMs = undefined;
        return this.#answer(refusal);
      case 'start': {
        logger.info({ reason: refusal.message }, 'container could not be started');
        if (step.byPolicy && isTemporary(error))
          return this.#advance(progress.startPutOff(this.#stored, refusal.message, clock.now()));
        const exitCode =
          error instanceof StartError && error.exitCode !== 125 ? error.exitCode : EXIT_UNKNOWN;
        this.#advance(progress.notStarted(this.#stored, exitCode, refusal.message), !step.byPolicy);
        return step.byPolicy ? undefined : this.#answer(refusal);
      }
      case 'stop':
      case 'pause':
      case 'unpause':
      case 'update':
        return this.#answer(refusal);
      default:
        logger.error({ error, step: step.kind }, 'a step of a container failed; trying again');
        return this.#retry(signal);
    }
  }

  /** Nobody waits for it, and there is no node that it could go back to. */
  #notArrived({ message }: Refusal, signal: AbortSignal): Promise<void> {
    const { state } = this.#stored;
    if (state.error !== message) {
      this.options.logger.warn({ reason: message }, 'a container from a lost node cannot be made here yet');
      this.#advance({ ...this.#stored, state: { ...state, error: message } });
    }
    return this.#retry(signal);
  }

  async #retry(signal: AbortSignal): Promise<void> {
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(waitMs * 2, RETRY_MAX_MS);
    await delay(this.options.clock, waitMs, signal).catch(() => undefined);
  }

  get #hasPolicy(): boolean {
    return (this.#stored.assignment.container?.host?.restart?.name ?? 'no') !== 'no';
  }

  async #noteStart(answers: boolean): Promise<void> {
    // What a policy is to bring back after a power cut must be there then: first the container, then what is known of it.
    const isToLast = this.#hasPolicy && this.#stored.memory.restartAtMs === undefined;
    if (isToLast) await this.runtime.persist();
    const { life, facts, labels } = this.runtime;
    if (life.kind === 'none' || life.kind === 'created') return;
    const pid = life.kind === 'exited' ? 0 : life.pid;
    const { state, memory } = progress.started(this.#stored, pid, Math.round(life.startedAtMs));
    const health = this.#healthPlan() ? STARTING : undefined;
    const noted = { state: { ...progress.placed(progress.labelled(state, labels), facts), health }, memory };
    this.#advance(answers ? progress.answered({ ...this.#stored, ...noted }) : noted);
    if (isToLast) this.options.storage.sync();
  }

  #noteExit(): void {
    const { life } = this.runtime;
    const nowMs = this.options.clock.now();
    const exit = life.kind === 'exited' ? life.exit : progress.lost(nowMs);
    this.#advance(progress.exited(this.#stored, exit, nowMs));
  }

  #answer(refusal?: Refusal): void {
    if (refusal)
      this.options.logger.debug({ reason: refusal.message }, 'what was asked of a container is refused');
    const { assignment, state } = this.#stored;
    const { verb } = assignment.container?.target ?? {};
    const says = !refusal && (verb === 'create' || verb === 'update');
    const warnings = says ? this.runtime.warnings(assignment) : state.warnings;
    const labelled = progress.labelled({ ...state, warnings }, this.runtime.labels);
    this.#advance(progress.answered({ ...this.#stored, state: labelled }, refusal));
  }

  async #wait(untilMs: number | undefined, signal: AbortSignal): Promise<void> {
    this.#watchEnd();
    const seen = this.#version;
    const changed = this.#changed.until(() => this.#version !== seen, signal);
    if (untilMs === undefined) return changed;
    const over = new AbortController();
    const { clock } = this.options;
    const time = delay(clock, Math.max(0, untilMs - clock.now()), AbortSignal.any([signal, over.signal]));
    await Promise.race([changed, time]).finally(() => {
      over.abort();
      time.catch(() => undefined);
      changed.catch(() => undefined);
    });
  }

  /** While it runs, its end makes another step due. */
  #watchEnd(): void {
    if (this.#watched || !isUp(this.runtime.life)) return;
    this.#watched = true;
    const run = new AbortController();
    this.#watchHealth(AbortSignal.any([run.signal, this.#closing.signal]));
    this.runtime.ended(this.#closing.signal).then(
      () => {
        this.#watched = false;
        run.abort(reason());
        this.wake();
      },
      () => undefined,
    );
  }

  #healthPlan() {
    const { healthcheck, shell } = this.#stored.assignment.container?.spec ?? {};
    return healthPlan(healthcheck, shell);
  }

  #watchHealth(signal: AbortSignal): void {
    const { runtime } = this;
    const { clock, logger } = this.options;
    const plan = this.#healthPlan();
    if (!plan) return;
    const options = {
      runtime,
      plan,
      clock,
      logger,
      startedAtMs: this.#stored.state.startedAtMs,
      health: () => this.#stored.state.health ?? STARTING,
      onHealth: (next: typeof STARTING) =>
        this.#advance({ ...this.#stored, state: { ...this.#stored.state, health: next } }),
    };
    void monitorHealth(options, signal);
  }

  /** @param silent written down without being reported: what follows carries it */
  #advance({ state, memory }: progress.Progress, silent = false): void {
    const before = this.#stored.state;
    const sequence = progress.nextSequence(before, this.options.clock.now());
    const next = state === before ? before : progress.numbered(state, sequence, this.#acknowledged);
    this.#put({ ...this.#stored, state: next, memory });
    if (next === before || silent) return;
    if (next.state !== before.state)
      this.options.logger.info(
        { from: before.state, to: next.state, ...(next.error && { reason: next.error }) },
        `container ${before.state} → ${next.state}`,
      );
    this.#teller.now();
  }

  #put(stored: StoredContainer): void {
    this.#stored = stored;
    this.options.storage.put(this.id, stored);
  }
}

/** An operating error keeps its kind; a command that cannot be executed is the caller's. */
const refusalKind = (error: unknown): Refusal['kind'] =>
  error instanceof StartError && error.exitCode !== 125 ? 'invalidArgument' : errorKindOf(error);

const reason = (): DOMException => new DOMException('another step is due', 'AbortError');
