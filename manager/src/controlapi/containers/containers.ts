import { newHexId } from '@tessera/shared/env';
import { ClusterError, invalid, isTemporary } from '@tessera/shared/errors';
import type {
  Container,
  ContainerResources,
  ContainerRestartPolicy,
  ContainerState,
} from '@tessera/shared/model';
import { ContainerTarget, HostConfig, ContainerResources as Resources } from '@tessera/shared/model';
import { containerOwner } from '../../loops/containers.js';
import type { Transaction, View } from '../../store/view.js';
import type { ControlContext } from '../ports.js';
import { proposeName } from '../random-name.js';
import { lookAt } from './look.js';
import {
  getContainer,
  isRunning,
  type KnownContainer,
  known,
  noSuchContainer,
  whyUnreachable,
} from './lookup.js';
import { resolveContainer } from './resolve.js';
import { until } from './until.js';
import { ask, heard, type Wish } from './verbs.js';
import { type Ended, registerWait, type WaitCondition } from './wait.js';

/** How long a new container waits for its place: a change of leader fits in. */
const PLACEMENT_MAX_MS = 30_000;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

export interface RemoveOptions {
  readonly force: boolean;
  readonly volumes: boolean;
}

/** A container that has been made, and what its host leaves out of what was asked for. */
export interface Answered {
  readonly id: string;
  readonly warnings: readonly string[];
}

/** What may be asked of containers. */
export class Containers {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  /** Those that have been given a node, with what is known of each; newest first. */
  async list(): Promise<readonly KnownContainer[]> {
    const view = await this.#context.store.read();
    const placed = [...view.containers.all()].filter(({ id }) => view.containerPlacements.get(id)?.nodeId);
    return placed.map((container) => known(view, container)).sort(newestFirst);
  }

  /** @throws ClusterError `notFound` */
  async inspect(reference: string): Promise<KnownContainer> {
    const view = await this.#context.store.read();
    return known(view, getContainer(view, reference));
  }

  /** For whoever asks its agent: what is shown of its state counts for a refusal alone. @throws what `check` throws */
  find(
    reference: string,
    check: (container: KnownContainer) => void,
    signal: AbortSignal,
  ): Promise<KnownContainer> {
    const look = (view: View) => {
      const found = known(view, getContainer(view, reference));
      check(found);
      return found;
    };
    return lookAt(this.#context.store, reference, look, signal);
  }

  /**
   * Makes a container and waits until it is there, ready to be started; where it cannot be, nothing is left of it.
   *
   * @param wanted without id; an empty name asks for one
   * @param platform `linux/amd64`, where the user insists on one
   * @throws ClusterError `alreadyExists` for a name that is taken, `conflict` when no node may run it, `notFound` for
   *   an image that the cluster has not, and what its agent says of it
   */
  async create(wanted: Container, platform: string, signal: AbortSignal): Promise<Answered> {
    const { store, random, logger } = this.#context;
    if (wanted.name !== '') assertName(wanted.name);
    if (wanted.host?.autoRemove && (wanted.host.restart?.name ?? 'no') !== 'no')
      throw invalid("can't create 'AutoRemove' container with restart policy");
    const id = newHexId(random);
    await store.read(signal);
    const make = (tx: Transaction): Container => {
      // Made after all, by an attempt that got no answer.
      const before = tx.containers.get(id);
      if (before) return before;
      const isTaken = (name: string) => tx.claim(`name/container/${name}`) !== undefined;
      const name = wanted.name || proposeName(random, isTaken);
      takeName(tx, name, id);
      const made: Container = {
        ...resolveContainer(tx, wanted, platform, { containerId: id, random }),
        id,
        name,
        target: ContainerTarget.fromPartial({ verb: 'create', generation: 1 }),
      };
      tx.put('containers', made);
      return made;
    };
    const container = await this.#write(id, make);
    try {
      await this.#placed(id, signal);
      const { warnings } = await heard(this.#context, id, 1, signal);
      return { id: container.id, warnings };
    } catch (error) {
      await this.#discard(id).catch((cause: unknown) =>
        logger.warn({ 'container.id': id, error: cause }, 'a container that could not be made stays behind'),
      );
      throw error;
    }
  }

  /** With its place, in one transaction, where this manager leads; otherwise the leader's loops give it one. */
  async #write(id: string, make: (tx: Transaction) => Container): Promise<Container> {
    const { store, decisions } = this.#context;
    try {
      const leader = decisions?.();
      if (leader) return await leader.createPlaced(id, make);
    } catch (error) {
      // Deposed: the next leader's loops see it.
      if (!isTemporary(error)) throw error;
    }
    return store.update(make);
  }

  async #placed(id: string, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#context;
    const reason = await until(
      store,
      signal,
      (view) => {
        const placement = view.containerPlacements.get(id);
        if (!view.containers.get(id)) throw noSuchContainer(id);
        return placement?.nodeId ? '' : placement?.pendingReason || undefined;
      },
      {
        clock,
        ms: PLACEMENT_MAX_MS,
        message: `the container was not placed within ${PLACEMENT_MAX_MS / 1_000} s: the cluster may have no leader`,
      },
    );
    if (reason !== '') throw new ClusterError('conflict', reason);
  }

  /** The leader deletes it, once its node has, if it ever came to one. */
  async #discard(id: string): Promise<void> {
    await this.#context.store.update((tx) => mark(tx, id, { force: true, volumes: true }));
  }

  /** Asks for start, stop, restart, pause or unpause, and waits for the agent's answer. */
  async ask(reference: string, wish: Wish, signal: AbortSignal): Promise<ContainerState> {
    return ask(
      this.#context.store,
      reference,
      {
        ...wish,
        change: (container, state) => {
          if (container.removing)
            throw new ClusterError(
              'conflict',
              `container is marked for removal and cannot be ${PAST[wish.verb] ?? wish.verb}`,
            );
          return wish.change?.(container, state) ?? container;
        },
      },
      signal,
    );
  }

  /** Changes limits and restart policy of a container, running or not. @returns what its host leaves out of them */
  async update(
    reference: string,
    change: {
      readonly resources: (before: ContainerResources) => ContainerResources;
      /** Why what the container has already rules it out. */
      readonly conflict: (before: ContainerResources) => string | undefined;
      readonly restart: ContainerRestartPolicy | undefined;
    },
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    let before: HostConfig | undefined;
    const applied = (container: Container): Container => {
      const host = container.host ?? HostConfig.fromPartial({});
      const resources = host.resources ?? Resources.fromPartial({});
      const conflict =
        host.autoRemove && change.restart && change.restart.name !== 'no'
          ? 'Restart policy cannot be updated because AutoRemove is enabled for the container'
          : change.conflict(resources);
      if (conflict)
        throw new ClusterError('conflict', `Cannot update container ${container.id}: ${conflict}`);
      before = host;
      return {
        ...container,
        host: {
          ...host,
          resources: change.resources(resources),
          restart: change.restart ?? host.restart,
        },
      };
    };
    try {
      return (await this.ask(reference, { verb: 'update', change: applied }, signal)).warnings;
    } catch (error) {
      if (before) await this.#takeBack(reference, before);
      throw error;
    }
  }

  /** An update that its agent has refused leaves the container as it was; one that it has not answered may yet be done. */
  async #takeBack(reference: string, before: HostConfig): Promise<void> {
    const { store } = this.#context;
    const { id } = getContainer(await store.read(), reference);
    await store.update((tx) => {
      const container = tx.containers.get(id);
      const state = tx.containerStates.get(id);
      const { verb, generation } = container?.target ?? {};
      if (!container || verb !== 'update' || state?.generation !== generation) return;
      if (state?.generationErrorKind === '' && state.generationError === '') return;
      const host = { ...HostConfig.fromPartial({}), ...container.host };
      tx.put('containers', {
        ...container,
        host: { ...host, resources: before.resources, restart: before.restart },
      });
    });
  }

  /** @throws ClusterError `alreadyExists` when the name is taken */
  async rename(reference: string, to: string): Promise<void> {
    const { store } = this.#context;
    const name = to.replace(/^\//, '');
    if (name === '') throw invalid('Neither old nor new names may be empty');
    const { id } = getContainer(await store.read(), reference);
    await store.update((tx) => {
      const container = getContainer(tx, id);
      if (container.name === name)
        throw invalid(`Renaming a container with the same name as its current name`);
      if (container.removing) throw inRemoval(id);
      allocateName(tx, name, id);
      releaseName(tx, container);
      tx.put('containers', { ...container, name });
    });
  }

  /**
   * Marks a container for removal, which frees its name, and waits until it is gone.
   *
   * @throws ClusterError `conflict` where it runs and is not to be forced, or is being removed already
   */
  async remove(reference: string, options: RemoveOptions, signal: AbortSignal): Promise<void> {
    const { store } = this.#context;
    const { id } = getContainer(await store.read(signal), reference);
    await store.update((tx) => {
      const container = tx.containers.get(id);
      if (!container) throw noSuchContainer(reference);
      assertRemovable(tx, container, options);
      mark(tx, id, options);
    });
    await until(store, signal, (view) => {
      if (!view.containers.get(id)) return true;
      const nodeId = view.containerPlacements.get(id)?.nodeId;
      const error = nodeId && !options.force ? whyUnreachable(view, nodeId) : undefined;
      if (error) throw error;
      return undefined;
    });
  }

  /** Registers a wait. @throws ClusterError `notFound` */
  wait(
    reference: string,
    condition: WaitCondition,
    signal: AbortSignal,
  ): Promise<{ readonly ended: Promise<Ended> }> {
    return registerWait(this.#context.store, reference, condition, signal);
  }

  /** Resolves when what runs now has ended: a container that is killed is gone when its kill is answered. */
  async ended(id: string, exitsBefore: number, signal: AbortSignal): Promise<void> {
    await until(this.#context.store, signal, (view) => {
      const state = view.containerStates.get(id);
      return !view.containers.get(id) || !state || state.exits > exitsBefore || !isRunning(state)
        ? true
        : undefined;
    });
  }

  /** Removes what does not run and `matches`. @returns ids of those that are gone */
  async prune(matches: (container: KnownContainer) => boolean, signal: AbortSignal): Promise<string[]> {
    const all = await this.list();
    const idle = all.filter(
      (one) => !isRunning(one.state) && !one.container.removing && one.state.generation > 0 && matches(one),
    );
    const gone = await Promise.all(
      idle.map(async ({ container: { id } }) => {
        try {
          await this.remove(id, { force: false, volumes: false }, signal);
          return [id];
        } catch (error) {
          // Started, or removed by someone else, since we looked; or its node cannot be reached.
          if (error instanceof ClusterError && PRUNE_SKIPS.has(error.kind)) return [];
          throw error;
        }
      }),
    );
    return gone.flat();
  }
}

const PRUNE_SKIPS = new Set(['conflict', 'notFound', 'unavailable']);
const PAST: Readonly<Partial<Record<Wish['verb'], string>>> = {
  start: 'started',
  stop: 'stopped',
  restart: 'restarted',
  pause: 'paused',
  unpause: 'unpaused',
  update: 'updated',
};

const newestFirst = (a: KnownContainer, b: KnownContainer): number =>
  createdAtMs(b) - createdAtMs(a) || (a.container.id < b.container.id ? -1 : 1);
const createdAtMs = ({ container }: KnownContainer): number => container.meta?.createdAtMs ?? 0;

const inRemoval = (id: string): ClusterError =>
  new ClusterError('conflict', `removal of container ${id} is already in progress`);

/** In dockerd's words. Source: moby daemon/delete.go. */
function assertRemovable(view: View, container: Container, { force }: RemoveOptions): void {
  const { id, name } = container;
  const nodeId = view.containerPlacements.get(id)?.nodeId;
  const isStranded = nodeId !== undefined && nodeId !== '' && whyUnreachable(view, nodeId) !== undefined;
  // One that waits for a node which does not come back may still be given up.
  if (container.removing && !(force && isStranded)) throw inRemoval(id);
  const state = view.containerStates.get(id);
  if (force || !view.nodes.get(nodeId ?? '')) return;
  if (isStranded) {
    const { message } = whyUnreachable(view, nodeId)!;
    throw new ClusterError('conflict', `cannot remove container "/${name}": ${message}; --force forgets it`);
  }
  if (state?.state === 'paused')
    throw new ClusterError(
      'conflict',
      `cannot remove container "/${name}": container is paused and must be unpaused first`,
    );
  if (state && isRunning(state))
    throw new ClusterError(
      'conflict',
      `cannot remove container "/${name}": container is ${state.state}: stop the container before removing or force remove`,
    );
}

function mark(tx: Transaction, id: string, { force, volumes }: RemoveOptions): void {
  const container = tx.containers.get(id);
  if (!container) return;
  tx.put('containers', { ...container, removing: true, removeForce: force, removeVolumes: volumes });
  releaseName(tx, container);
}

function takeName(tx: Transaction, name: string, id: string): void {
  const claim = `name/container/${name}`;
  const owner = tx.claim(claim);
  if (owner !== undefined)
    throw new ClusterError(
      'alreadyExists',
      `Conflict. The container name "/${name}" is already in use by container "${owner.slice('container/'.length)}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
  tx.takeClaim(claim, containerOwner(id));
}

/** As dockerd tells of it where a container that there is takes another name. */
function allocateName(tx: Transaction, name: string, id: string): void {
  try {
    assertName(name, '/');
    takeName(tx, name, id);
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    throw new ClusterError(error.kind, `Error when allocating new name: ${error.message}`);
  }
}

function releaseName(tx: Transaction, { id, name }: Container): void {
  const claim = `name/container/${name}`;
  if (tx.claim(claim) === containerOwner(id)) tx.releaseClaim(claim);
}

function assertName(name: string, before = ''): void {
  if (!NAME.test(name))
    throw invalid(`Invalid container name (${before}${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
}
