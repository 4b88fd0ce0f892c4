import type { SessionHandle } from '@tessera/manager/dispatcher';
import type { Clock, Random } from '@tessera/shared/env';
import {
  type ContainerState,
  NodeDescription,
  type Resources,
  type Task,
  type TaskStatus,
} from '@tessera/shared/model';
import type { AgentMessage, Assignments, ManagerMessage } from '@tessera/shared/wire';
import type { Containers } from './containers.js';
import { HostContainers } from './host-containers.js';
import type { SimManager } from './sim-manager.js';
import { foundDead, SimTask } from './sim-task.js';

/** How late, and how often twice, statuses arrive; all 0 once faults have ended. */
export interface StatusFaults {
  lateChance: number;
  lateMaxMs: number;
  twiceChance: number;
}

export interface SimAgentOptions {
  readonly nodeId: string;
  readonly capacity: Resources;
  readonly imageDigests: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly containers: Containers;
  /** Called when a container that is no task's begins to run here. */
  readonly onContainerStart: (containerId: string, nodeId: string) => void;
  readonly faults: StatusFaults;
  /** Managers whose process is there, be it stopped or cut off. */
  readonly managers: () => readonly SimManager[];
}

interface Link {
  readonly manager: SimManager;
  handle: SessionHandle | undefined;
  isClosed: boolean;
}

const RECONNECT_MS = 300;
/** How long an agent waits for a manager that says nothing before it dials another one. */
const UNANSWERED_MS = 8_000;
const LATENCY_MS = 2;
/** Statuses of this long share a batch. */
const GATHER_MS = 20;

/** The model of one host: its agent, its containers, and its link to the managers. */
export class SimAgent {
  readonly nodeId: string;
  readonly capacity: Resources;
  readonly #tasks = new Map<string, SimTask>();
  /** What has been put on disk: survives the agent and the host. */
  readonly #records = new Map<string, { task: Task; status: TaskStatus }>();
  readonly #unacknowledged = new Map<string, TaskStatus>();
  /** Containers that are no task's. */
  readonly hostContainers: HostContainers;
  readonly #unsentStates = new Map<string, ContainerState>();
  readonly #statesInBatch = new Map<number, readonly ContainerState[]>();
  #link: Link | undefined;
  #cancelHeartbeat: (() => void) | undefined;
  #cancelFlush: (() => void) | undefined;
  #batchNumber = 0;
  #sentInBatch = new Map<number, readonly TaskStatus[]>();
  #incoming: Task[] = [];
  #isOn = false;
  #isCut = false;
  /** Since when the host is up, linked and has a session; undefined while it is not. */
  #sessionSinceMs: number | undefined;
  /** It has been told that it is no longer part of the cluster, and has let go of everything. */
  isRemoved = false;
  /** The user has removed its node, whether it knows or not: nobody counts on what still runs there. */
  isDisowned = false;

  constructor(private readonly options: SimAgentOptions) {
    this.nodeId = options.nodeId;
    this.capacity = options.capacity;
    this.hostContainers = new HostContainers({
      clock: options.clock,
      onStart: (id) => options.onContainerStart(id, options.nodeId),
      onState: (state) => this.#reportStates([state]),
    });
  }

  /** Since when a manager has been able to speak with it; undefined while none is. */
  get reachableSinceMs(): number | undefined {
    const answeringSinceMs = this.#link?.manager.answeringSinceMs;
    if (this.#sessionSinceMs === undefined || answeringSinceMs === undefined) return undefined;
    return Math.max(this.#sessionSinceMs, answeringSinceMs);
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** The host's power comes on: its containers are gone, its records are not. */
  powerOn(): void {
    if (this.#isOn || this.isRemoved) return;
    this.#isOn = true;
    this.hostContainers.begin();
    for (const [id, { task, status }] of this.#records) {
      const now = foundDead(status, this.options.clock.now());
      this.#records.set(id, { task, status: now });
      this.#tasks.set(id, this.#newTask(task, now));
    }
    this.#connectLater(0);
  }

  powerOff(): void {
    this.#isOn = false;
    this.#disconnect(false);
    this.hostContainers.cutPower();
    for (const task of this.#tasks.values()) task.destroy();
    this.#tasks.clear();
  }

  /** The agent's process ends and begins anew; its containers run on. */
  restartAgent(): void {
    if (!this.#isOn) return;
    this.#disconnect(true);
    this.hostContainers.end();
    this.hostContainers.begin();
    this.#connectLater(this.options.random.next() * 2_000);
  }

  cut(): void {
    this.#isCut = true;
    this.#disconnect(false);
  }

  heal(): void {
    this.#isCut = false;
    if (this.#isOn && !this.#link) this.#connectLater(0);
  }

  /** The node is no longer part of the cluster. */
  remove(): void {
    this.isRemoved = true;
    this.powerOff();
    this.hostContainers.remove();
    this.#records.clear();
  }

  #connectLater(delayMs: number): void {
    this.options.clock.after(delayMs, () => this.#connect());
  }

  #connect(): void {
    const managers = this.options.managers();
    if (!this.#isOn || this.#isCut || this.#link) return;
    const manager = managers[Math.floor(this.options.random.next() * managers.length)];
    if (!manager) {
      this.#connectLater(RECONNECT_MS);
      return;
    }

    const link: Link = { manager, handle: undefined, isClosed: false };
    this.#link = link;
    manager.receive(() => {
      if (link.isClosed) return;
      try {
        link.handle = manager.dispatcher.openSession(this.nodeId, this.#register(), {
          send: (message) => {
            this.#deliver(link, () => this.#onMessage(link, message));
            return true;
          },
          close: () => this.#deliver(link, () => this.#closed(link)),
        });
      } catch {
        this.#deliver(link, () => this.#closed(link));
      }
    });
    this.#watchAnswer(link);
  }

  #deliver(link: Link, act: () => void): void {
    this.options.clock.after(LATENCY_MS, () => {
      if (this.#link === link && this.#isOn && !this.#isCut) act();
    });
  }

  /** A manager whose process stands still answers nothing: the agent goes elsewhere after a while. */
  #watchAnswer(link: Link): void {
    this.options.clock.after(UNANSWERED_MS, () => {
      if (this.#link !== link) return;
      if (link.manager.isAnswering && this.#sessionSinceMs !== undefined) this.#watchAnswer(link);
      else this.#closed(link);
    });
  }

  #closed(link: Link): void {
    if (this.#link !== link) return;
    this.#disconnect(true);
    this.#connectLater(RECONNECT_MS * (1 + this.options.random.next()));
  }

  /** @param isTold whether the manager hears of it, or has to find out by the silence */
  #disconnect(isTold: boolean): void {
    const link = this.#link;
    this.#link = undefined;
    this.#sessionSinceMs = undefined;
    this.#cancelHeartbeat?.();
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    this.#sentInBatch.clear();
    this.#statesInBatch.clear();
    this.#incoming = [];
    if (!link) return;
    link.isClosed = true;
    if (isTold) link.manager.receive(() => link.handle?.closed());
  }

  #send(body: NonNullable<AgentMessage['body']>, delayMs = LATENCY_MS): void {
    const link = this.#link;
    if (!link) return;
    this.options.clock.after(delayMs, () => {
      if (this.#link === link && !this.#isCut) link.manager.receive(() => link.handle?.receive({ body }));
    });
  }

  #onMessage(link: Link, { body }: ManagerMessage): void {
    switch (body?.$case) {
      case 'welcome':
        this.#sessionSinceMs = this.options.clock.now();
        this.#beat(link, body.value.heartbeatPeriodMs);
        this.#report([...this.#tasks.values()].map(({ status }) => status));
        this.#reportStates(this.hostContainers.states());
        break;
      case 'assignments':
        this.#assign(body.value);
        this.hostContainers.assign(body.value);
        break;
      case 'statusAck':
        this.#acknowledged(body.value.number);
        break;
      case 'dismiss':
        if (body.value.removed) this.remove();
        else this.#closed(link);
        break;
    }
  }

  #beat(link: Link, periodMs: number): void {
    this.#cancelHeartbeat = this.options.clock.after(periodMs, () => {
      if (this.#link !== link) return;
      this.#send({ $case: 'heartbeat', value: { mainLoopLagMs: 0 } });
      this.#beat(link, periodMs);
    });
  }

  #assign({ full, complete, items, removed, sequence }: Assignments): void {
    const tasks = items.flatMap(({ item }) => (item?.$case === 'task' ? [item.value] : []));
    if (full) {
      this.#incoming.push(...tasks);
      if (complete) {
        const assigned = new Set(this.#incoming.map(({ id }) => id));
        for (const id of [...this.#tasks.keys()]) if (!assigned.has(id)) this.#forget(id);
        for (const task of this.#incoming.splice(0)) this.#take(task);
      }
    } else {
      for (const key of removed) if (key.startsWith('task/')) this.#forget(key.slice('task/'.length));
      for (const task of tasks) this.#take(task);
    }
    this.#send({ $case: 'ack', value: { sequence } });
  }

  #take(task: Task): void {
    const known = this.#tasks.get(task.id);
    if (known) {
      known.update(task);
      this.#records.set(task.id, { task, status: known.status });
      return;
    }
    const taken = this.#newTask(task);
    this.#tasks.set(task.id, taken);
    this.#onStatus(taken.status, task);
  }

  #newTask(task: Task, status?: TaskStatus): SimTask {
    return new SimTask(
      task,
      {
        clock: this.options.clock,
        random: this.options.random,
        containers: this.options.containers,
        haveStopped: (ids) => ids.every((id) => this.#tasks.get(id)?.isOver ?? true),
        onStatus: (next) => this.#onStatus(next, this.#tasks.get(task.id)?.task ?? task),
      },
      status,
    );
  }

  #forget(taskId: string): void {
    this.#tasks.get(taskId)?.destroy();
    this.#tasks.delete(taskId);
    this.#records.delete(taskId);
    this.#unacknowledged.delete(taskId);
    for (const task of this.#tasks.values()) task.poke();
  }

  #onStatus(status: TaskStatus, task: Task): void {
    this.#records.set(status.taskId, { task, status });
    this.#report([status]);
    for (const other of this.#tasks.values()) other.poke();
  }

  #report(statuses: readonly TaskStatus[]): void {
    if (statuses.length === 0) return;
    for (const status of statuses) this.#unacknowledged.set(status.taskId, status);
    this.#flushSoon();
  }

  #reportStates(states: readonly ContainerState[]): void {
    for (const state of states) this.#unsentStates.set(state.containerId, state);
    if (states.length > 0) this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#sessionSinceMs === undefined || this.#cancelFlush) return;
    this.#cancelFlush = this.options.clock.after(GATHER_MS, () => {
      this.#cancelFlush = undefined;
      this.#flush();
    });
  }

  /** Everything that is not on its way yet, in one batch. */
  #flush(): void {
    const sent = new Set([...this.#sentInBatch.values()].flat());
    const statuses = [...this.#unacknowledged.values()].filter((status) => !sent.has(status));
    const containers = [...this.#unsentStates.values()];
    this.#unsentStates.clear();
    if (statuses.length === 0 && containers.length === 0) return;
    const { faults, random } = this.options;
    const number = ++this.#batchNumber;
    this.#sentInBatch.set(number, statuses);
    this.#statesInBatch.set(number, containers);
    const delayMs = () =>
      LATENCY_MS + (random.next() < faults.lateChance ? random.next() * faults.lateMaxMs : 0);
    this.#send({ $case: 'statuses', value: { number, statuses, containers, volumes: [] } }, delayMs());
    if (random.next() < faults.twiceChance) {
      this.#send({ $case: 'statuses', value: { number, statuses, containers, volumes: [] } }, delayMs());
    }
  }

  #acknowledged(number: number): void {
    for (const status of this.#sentInBatch.get(number) ?? []) {
      if (this.#unacknowledged.get(status.taskId) === status) this.#unacknowledged.delete(status.taskId);
    }
    this.#sentInBatch.delete(number);
    this.hostContainers.acknowledged(this.#statesInBatch.get(number) ?? []);
    this.#statesInBatch.delete(number);
  }

  #register() {
    const { nodeId, capacity, imageDigests } = this.options;
    return {
      description: NodeDescription.fromPartial({
        hostname: nodeId,
        os: 'linux',
        architecture: 'x86_64',
        engineVersion: 'sim',
        capacity,
        dataPathAddr: `addr-${nodeId}`,
        bootId: 'boot',
      }),
      addr: `addr-${nodeId}`,
      imageDigests: [...imageDigests],
      incarnation: 1,
      managerAddr: '',
    };
  }
}
