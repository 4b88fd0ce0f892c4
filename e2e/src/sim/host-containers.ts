import { Containers } from '@tessera/agent/containers';
import { FakeRuntime } from '@tessera/agent/containers/testing';
import type { StoredContainer } from '@tessera/agent/storage';
import { type Clock, silentLogger } from '@tessera/shared/env';
import type { ContainerState } from '@tessera/shared/model';
import type { Assignments, ContainerAssignment } from '@tessera/shared/wire';

export interface HostContainersOptions {
  readonly clock: Clock;
  /** Called when one begins to run. */
  readonly onStart: (containerId: string) => void;
  readonly onState: (state: ContainerState) => void;
}

/** The containers of one host that are no task's: the product's own agent part, over a runtime that is a model. */
export class HostContainers {
  readonly #runtime: FakeRuntime;
  /** The disk: survives the agent and the host. */
  readonly #stored = new Map<string, StoredContainer>();
  #assigned = new Map<string, ContainerAssignment>();
  #incoming = new Map<string, ContainerAssignment>();
  #agent: Containers | undefined;

  constructor(private readonly options: HostContainersOptions) {
    this.#runtime = new FakeRuntime(options.clock);
    this.#runtime.behaviour = { start: async (id) => options.onStart(id) };
  }

  get runningIds(): string[] {
    return [...this.#stored.keys()].filter((id) => this.#runtime.container(id).isUp);
  }

  isRunning(id: string): boolean {
    return this.#runtime.container(id).isUp;
  }

  /** An agent's process begins. */
  begin(): void {
    let isAlive = true;
    const agent = new Containers({
      runtime: this.#runtime,
      storage: {
        all: () => this.#stored,
        put: (id, stored) => void (isAlive && this.#stored.set(id, stored)),
        delete: (id) => void (isAlive && this.#stored.delete(id)),
        sync: () => undefined,
      },
      clock: this.options.clock,
      logger: silentLogger,
      reporter: {
        reportContainer: (state) => isAlive && this.options.onState(state),
        forgetContainer: () => undefined,
      },
    });
    this.#agent = agent;
    this.#end = () => {
      isAlive = false;
      void agent.close();
    };
    agent.recover();
  }

  #end = (): void => {};

  /** The agent's process ends; what runs goes on. */
  end(): void {
    this.#end();
    this.#agent = undefined;
    this.#incoming.clear();
  }

  /** The host's power is cut: its agent and all that runs are gone. */
  cutPower(): void {
    this.end();
    this.#runtime.reboot();
  }

  states(): readonly ContainerState[] {
    return this.#agent?.states() ?? [];
  }

  acknowledged(states: readonly ContainerState[]): void {
    this.#agent?.acknowledged(states);
  }

  assign({ full, complete, items, removed }: Assignments): void {
    const given = items.flatMap(({ item }) =>
      item?.$case === 'container' ? [[item.value.container!.id, item.value] as const] : [],
    );
    if (full) {
      for (const [id, assignment] of given) this.#incoming.set(id, assignment);
      if (!complete) return;
      this.#assigned = this.#incoming;
      this.#incoming = new Map();
    } else {
      for (const key of removed)
        if (key.startsWith('container/')) this.#assigned.delete(key.slice('container/'.length));
      for (const [id, assignment] of given) this.#assigned.set(id, assignment);
    }
    this.#agent?.apply(new Map(this.#assigned));
  }

  /** The node is no longer of the cluster. */
  remove(): void {
    this.cutPower();
    this.#stored.clear();
  }
}
