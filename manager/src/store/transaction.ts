import { ClusterError } from '@tessera/shared/errors';
import type { Cluster, Task, TaskSpec } from '@tessera/shared/model';
import { type Cache, specOf } from './cache.js';
import { ALL_KINDS, claimKey, encodeObject, idOf, keyId, objectKey } from './kinds.js';
import type { Compare, LeaseId, Op } from './kv/kv.js';
import { Overlay } from './overlay.js';
import {
  containerNames,
  imageNames,
  type NamedKind,
  networkNames,
  serviceNames,
  volumeNames,
} from './tables.js';
import type {
  Kind,
  NamedTable,
  Objects,
  PlacementTable,
  TaskTable,
  Transaction,
  VolumeStateTable,
} from './view.js';

/** A transaction in the form of the key-value port: it commits when every compare holds. */
export interface Change {
  readonly compares: readonly Compare[];
  readonly ops: readonly Op[];
}

type Overlays = { readonly [K in Kind]: Overlay<K> };

/**
 * One run of a transaction's body on the cache. It begins and ends between two turns of the event loop, so the
 * cache does not move under it, and nothing is copied.
 */
export class CacheTransaction implements Transaction {
  readonly #overlays: Overlays;
  /** Owner to be by claim; undefined is a release. */
  readonly #claims = new Map<string, string | undefined>();
  readonly #required = new Map<string, Compare>();
  readonly tasks: TaskTable;
  readonly services: NamedTable<Objects['services']>;
  readonly networks: NamedTable<Objects['networks']>;
  readonly images: NamedTable<Objects['images']>;
  readonly containers: NamedTable<Objects['containers']>;
  readonly containerPlacements: PlacementTable;
  readonly volumes: NamedTable<Objects['volumes']>;
  readonly volumeStates: VolumeStateTable;

  constructor(private readonly cache: Cache) {
    const { tables } = cache;
    const overlays = Object.fromEntries(
      ALL_KINDS.map((kind) => [kind, new Overlay(tables[kind] as never)]),
    ) as unknown as Overlays;
    this.#overlays = overlays;
    this.tasks = withFinders(overlays.tasks, {
      byService: (id: string) =>
        overlays.tasks.over(tables.tasks.byService(id), (task) => task.serviceId === id),
      byNode: (id: string) => overlays.tasks.over(tables.tasks.byNode(id), (task) => task.nodeId === id),
    });
    this.services = named(overlays.services, (name) => tables.services.allByName(name), serviceNames);
    this.networks = named(overlays.networks, (name) => tables.networks.allByName(name), networkNames);
    this.images = named(overlays.images, (name) => tables.images.allByName(name), imageNames);
    this.containers = named(overlays.containers, (name) => tables.containers.allByName(name), containerNames);
    this.containerPlacements = withFinders(overlays.containerPlacements, {
      byNode: (id: string) =>
        overlays.containerPlacements.over(
          tables.containerPlacements.byNode(id),
          (placement) => placement.nodeId === id,
        ),
    });
    this.volumes = named(overlays.volumes, (name) => tables.volumes.allByName(name), volumeNames);
    this.volumeStates = withFinders(overlays.volumeStates, {
      byNode: (id: string) =>
        overlays.volumeStates.over(tables.volumeStates.byNode(id), (state) => state.nodeId === id),
    });
  }

  get revision(): number {
    return this.cache.revision;
  }
  get leaderId(): string | undefined {
    return this.cache.leaderId;
  }
  get cluster(): Cluster | undefined {
    return this.#overlays.cluster.all()[0];
  }
  get nodes() {
    return this.#overlays.nodes;
  }
  get nodeStatuses() {
    return this.#overlays.nodeStatuses;
  }
  get serviceStatuses() {
    return this.#overlays.serviceStatuses;
  }
  get specs() {
    return this.#overlays.specs;
  }
  get taskStatuses() {
    return this.#overlays.taskStatuses;
  }
  get networkStatuses() {
    return this.#overlays.networkStatuses;
  }
  get imagePlacements() {
    return this.#overlays.imagePlacements;
  }
  get containerStates() {
    return this.#overlays.containerStates;
  }
  get volumePlacements() {
    return this.#overlays.volumePlacements;
  }
  get sessions() {
    return this.#overlays.sessions;
  }
  get journals() {
    return this.#overlays.journals;
  }

  specOf(task: Task): TaskSpec {
    return specOf(this, task);
  }

  claim(key: string): string | undefined {
    return this.#claims.has(key) ? this.#claims.get(key) : this.cache.claim(key);
  }

  put<K extends Kind>(kind: K, object: Objects[K]): void {
    const id = idOf(kind, object);
    if (id === '') throw new Error(`put ${kind}: the object has no id`);
    this.#overlays[kind].write(id, object);
  }

  delete(kind: Kind, id: string): void {
    this.#overlays[kind].write(id, undefined);
  }

  require(kind: Kind, id: string): void {
    const key = objectKey(kind, id);
    this.#required.set(key, this.#unchanged(key, this.#entry(kind, id)?.modRevision));
  }

  takeClaim(key: string, owner: string): void {
    const holder = this.claim(key);
    if (holder !== undefined && holder !== owner)
      throw new ClusterError('alreadyExists', `${claimText(key)} is already in use by ${holder}`);
    this.#claims.set(key, owner);
  }

  releaseClaim(key: string): void {
    this.#claims.set(key, undefined);
  }

  /**
   * What to commit, or undefined when nothing differs from what is stored.
   *
   * @param sessionLease asked when a session is put
   */
  compile(nowMs: number, sessionLease: () => LeaseId): Change | undefined {
    const compares = new Map(this.#required);
    const ops: Op[] = [];
    const write = (key: string, modRevision: number | undefined, op: Op) => {
      compares.set(key, this.#unchanged(key, modRevision));
      ops.push(op);
    };
    for (const kind of ALL_KINDS) {
      for (const [id, object] of this.#overlays[kind].writes) {
        const entry = this.#entry(kind, id);
        const key = objectKey(kind, id);
        if (object) {
          const lease = kind === 'sessions' ? sessionLease() : '';
          // Under another lease than before, the same bytes are news.
          const current = entry?.lease === lease ? entry : undefined;
          const value = encodeObject(kind, object, current, nowMs);
          if (value) write(key, entry?.modRevision, { kind: 'put', key, value, ...(lease && { lease }) });
        } else if (entry) {
          write(key, entry.modRevision, { kind: 'delete', key });
        }
      }
    }
    for (const [claim, owner] of this.#claims) {
      const held = this.cache.claimEntry(claim);
      if (held?.owner === owner) continue;
      const key = claimKey(claim);
      write(
        key,
        held?.modRevision,
        owner === undefined ? { kind: 'delete', key } : { kind: 'put', key, value: Buffer.from(owner) },
      );
    }
    return ops.length > 0 ? { compares: [...compares.values()], ops } : undefined;
  }

  #entry(kind: Kind, id: string) {
    return this.cache.tables[kind].entry(keyId(kind, id));
  }

  /** Absent keys are compared by their create revision, as claims must be: it is 0 only while there is no key. */
  #unchanged(key: string, modRevision: number | undefined): Compare {
    return modRevision === undefined
      ? { key, target: 'createRevision', equals: 0 }
      : { key, target: 'modRevision', equals: modRevision };
  }
}

/** `name/service/web` as a user reads it: "name web". */
function claimText(key: string): string {
  const [subject, ...rest] = key.split('/');
  return rest.length > 0 ? `${subject} ${rest.at(-1)}` : key;
}

function withFinders<T extends object, F extends object>(table: T, finders: F): T & F {
  return Object.assign(table, finders);
}

function named<K extends NamedKind>(
  overlay: Overlay<K>,
  find: (name: string) => readonly Objects[K][],
  namesOf: (object: Objects[K]) => readonly string[],
) {
  return withFinders(overlay, {
    byName(name: string): Objects[K] | undefined {
      return overlay.over(find(name), (object) => namesOf(object).includes(name))[0];
    },
  });
}
