import { ClusterError } from '@tessera/shared/errors';
import type { Node, Task, Volume } from '@tessera/shared/model';
import type { Assignment, Assignments, ContainerAssignment } from '@tessera/shared/wire';
import type { DesiredNetworks } from '../network/network-plane.js';

/** Everything the manager has handed to this node, as of one sequence number. */
export interface AssignedWork {
  readonly sequence: number;
  /** By id. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Containers that are no task's, by id. */
  readonly containers: ReadonlyMap<string, ContainerAssignment>;
  /** Ids of images to hold. */
  readonly images: ReadonlySet<string>;
  /** Volumes that are to be removed from this node, by id. */
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly networks: DesiredNetworks;
  /** Grows whenever `networks` differs from the set before. */
  readonly networksVersion: number;
  /** This node itself, once the manager has sent it. */
  readonly node: Node | undefined;
}

/**
 * Gathers a session's messages into whole sets: a full one, which comes in pieces, then deltas on top of it.
 * Make a new one for each session; the set of the session before stays in force until the new one is complete.
 */
export class AssignmentSet {
  #items = new Map<string, Assignment>();
  #pieces: Map<string, Assignment> | undefined;
  #complete = false;
  #sequence = 0;
  #networksVersion = 0;
  #networksStale = true;
  #networks: DesiredNetworks = { networks: [], endpoints: [], virtualServices: [] };

  /**
   * @returns the set as it is now, or undefined while a full one is still coming in
   * @throws ClusterError `aborted` when a message does not continue what came before: only a new session helps
   */
  add(message: Assignments): AssignedWork | undefined {
    if (message.sequence < this.#sequence)
      throw new ClusterError(
        'aborted',
        `assignments ${message.sequence} came after assignments ${this.#sequence}`,
      );
    this.#sequence = message.sequence;
    if (message.full) {
      this.#pieces ??= new Map();
      for (const item of message.items) this.#pieces.set(item.key, item);
      if (!message.complete) return undefined;
      this.#items = this.#pieces;
      this.#pieces = undefined;
      this.#complete = true;
      this.#networksStale = true;
    } else {
      if (!this.#complete || this.#pieces)
        throw new ClusterError(
          'aborted',
          `a delta (${message.sequence}) came before the full set it belongs to`,
        );
      this.#applyDelta(message);
    }
    return this.#work();
  }

  #applyDelta(message: Assignments): void {
    for (const key of message.removed) {
      if (isOfNetwork(key)) this.#networksStale = true;
      this.#items.delete(key);
    }
    for (const item of message.items) {
      if (isOfNetwork(item.key)) this.#networksStale = true;
      this.#items.set(item.key, item);
    }
  }

  #work(): AssignedWork {
    const tasks = new Map<string, Task>();
    const containers = new Map<string, ContainerAssignment>();
    const images = new Set<string>();
    const volumes = new Map<string, Volume>();
    let node: Node | undefined;
    for (const { item } of this.#items.values()) {
      if (item?.$case === 'task') tasks.set(item.value.id, item.value);
      else if (item?.$case === 'container' && item.value.container)
        containers.set(item.value.container.id, item.value);
      else if (item?.$case === 'volume') volumes.set(item.value.id, item.value);
      else if (item?.$case === 'image') images.add(item.value.imageId);
      else if (item?.$case === 'node') node = item.value;
    }
    if (this.#networksStale) {
      this.#networks = networksOf(this.#items.values());
      this.#networksVersion++;
      this.#networksStale = false;
    }
    return {
      sequence: this.#sequence,
      tasks,
      containers,
      images,
      volumes,
      node,
      networks: this.#networks,
      networksVersion: this.#networksVersion,
    };
  }
}

/** Kinds whose items make up `DesiredNetworks`; see docs/building.md for the keys. */
const isOfNetwork = (key: string): boolean => /^(network|endpoint|virtual-service)\//.test(key);

function networksOf(items: Iterable<Assignment>): DesiredNetworks {
  const networks = [];
  const endpoints = [];
  const virtualServices = [];
  for (const { item } of items) {
    if (item?.$case === 'network') networks.push(item.value);
    else if (item?.$case === 'endpoint') endpoints.push(item.value);
    else if (item?.$case === 'virtualService') virtualServices.push(item.value);
  }
  return { networks, endpoints, virtualServices };
}
