import { ClusterError } from '@tessera/shared/errors';
import type { Cluster, Task, TaskSpec } from '@tessera/shared/model';
import { ALL_KINDS, decodeObject, idOf, type KeyName, parseKey, specId } from './kinds.js';
import type { KeyValue } from './kv/kv.js';
import { LEADER_KEY, parseLeader } from './leader-key.js';
import { createTables, type KindTable, type Tables } from './tables.js';
import type { Change, Kind, View } from './view.js';

/** The owner of a claim, and the revision it was taken at. */
export interface Claim {
  readonly owner: string;
  readonly modRevision: number;
}
/** What the cache needs of a key that was put. */
type Stored = Pick<KeyValue, 'key' | 'value' | 'modRevision' | 'lease'>;
/** A KvEvent, or one that a writer makes up of its own commit. */
export type CacheEvent =
  | { readonly kind: 'put'; readonly kv: Stored }
  | { readonly kind: 'delete'; readonly key: string };
type Subscriber = (changes: readonly Change[], view: View) => void;

const text = new TextDecoder();

/**
 * The cluster's state in memory, fed revision by revision.
 *
 * It is its own View, and a live one: revisions are applied between the turns of the event loop, so whoever
 * reads it without awaiting sees one consistent picture at no cost, however large the cluster. A list from
 * `all()` or an index never changes once handed out.
 */
export class Cache implements View {
  readonly tables: Tables = createTables();
  readonly nodes: View['nodes'] = this.tables.nodes;
  readonly nodeStatuses: View['nodeStatuses'] = this.tables.nodeStatuses;
  readonly services: View['services'] = this.tables.services;
  readonly serviceStatuses: View['serviceStatuses'] = this.tables.serviceStatuses;
  readonly specs: View['specs'] = this.tables.specs;
  readonly tasks: View['tasks'] = this.tables.tasks;
  readonly taskStatuses: View['taskStatuses'] = this.tables.taskStatuses;
  readonly networks: View['networks'] = this.tables.networks;
  readonly networkStatuses: View['networkStatuses'] = this.tables.networkStatuses;
  readonly images: View['images'] = this.tables.images;
  readonly imagePlacements: View['imagePlacements'] = this.tables.imagePlacements;
  readonly containers: View['containers'] = this.tables.containers;
  readonly containerPlacements: View['containerPlacements'] = this.tables.containerPlacements;
  readonly containerStates: View['containerStates'] = this.tables.containerStates;
  readonly volumes: View['volumes'] = this.tables.volumes;
  readonly volumePlacements: View['volumePlacements'] = this.tables.volumePlacements;
  readonly volumeStates: View['volumeStates'] = this.tables.volumeStates;
  readonly sessions: View['sessions'] = this.tables.sessions;
  readonly journals: View['journals'] = this.tables.journals;
  readonly #claims = new Map<string, Claim>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #waiters = new Set<{ readonly revision: number; readonly resolve: () => void }>();
  #leader: Stored | undefined;
  #revision = 0;

  /** @param onSubscriberError a subscriber threw; the others and the feed go on */
  constructor(private readonly onSubscriberError: (error: unknown) => void) {}

  get revision(): number {
    return this.#revision;
  }

  get leaderId(): string | undefined {
    return this.#leader && parseLeader(this.#leader.value)?.managerId;
  }

  get cluster(): Cluster | undefined {
    for (const cluster of this.tables.cluster.all()) return cluster;
    return undefined;
  }

  specOf(task: Task): TaskSpec {
    return specOf(this, task);
  }

  claim(key: string): string | undefined {
    return this.#claims.get(key)?.owner;
  }

  claimEntry(key: string): Claim | undefined {
    return this.#claims.get(key);
  }

  /** Applies one revision. One that is no newer than what is here has been applied already. */
  apply(revision: number, events: readonly CacheEvent[]): void {
    if (revision <= this.#revision) return;
    const changes: Change[] = [];
    for (const event of events) {
      const key = event.kind === 'put' ? event.kv.key : event.key;
      if (key === LEADER_KEY) this.#leader = event.kind === 'put' ? event.kv : undefined;
      const name = parseKey(key);
      if (name) this.#applyKey(name, event.kind === 'put' ? event.kv : undefined, changes);
    }
    this.#arrive(revision, changes);
  }

  /** Makes this the state of a full list taken at `revision`, telling subscribers of every difference. */
  replace(revision: number, kvs: readonly KeyValue[]): void {
    const changes: Change[] = [];
    const listed = new Set<string>();
    this.#leader = kvs.find(({ key }) => key === LEADER_KEY);
    for (const kv of kvs) {
      const name = parseKey(kv.key);
      if (!name) continue;
      listed.add(this.#cacheKey(name));
      if (this.#modRevision(name) !== kv.modRevision) this.#applyKey(name, kv, changes);
    }
    for (const kind of ALL_KINDS) {
      for (const id of [...this.tables[kind].ids()]) {
        if (!listed.has(this.#cacheKey({ what: 'object', kind, id })))
          this.#applyKey({ what: 'object', kind, id }, undefined, changes);
      }
    }
    for (const claim of [...this.#claims.keys()]) {
      if (!listed.has(this.#cacheKey({ what: 'claim', claim }))) this.#claims.delete(claim);
    }
    this.#arrive(Math.max(revision, this.#revision), changes);
  }

  /** Calls `handler` after each revision that changed an object, in order, until the function returned is called. */
  subscribe(handler: Subscriber): () => void {
    // A function of its own, so that one handler subscribed twice is called twice.
    const subscriber: Subscriber = (changes, view) => handler(changes, view);
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /** Resolves once `revision` has been applied. @throws the signal's reason */
  catchUp(revision: number, signal?: AbortSignal): Promise<void> {
    if (revision <= this.#revision) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason as Error);
      };
      const waiter = {
        revision,
        resolve: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #applyKey(name: KeyName, kv: Stored | undefined, changes: Change[]): void {
    if (name.what === 'claim') {
      if (kv) this.#claims.set(name.claim, { owner: text.decode(kv.value), modRevision: kv.modRevision });
      else this.#claims.delete(name.claim);
      return;
    }
    const { kind, id } = name;
    const table = this.tables[kind] as KindTable<Kind>;
    const entry = kv && {
      object: decodeObject(kind, kv.value, kv.modRevision),
      value: kv.value,
      modRevision: kv.modRevision,
      lease: kv.lease,
    };
    const before = table.apply(id, entry);
    const object = entry?.object ?? before;
    if (object) changes.push({ kind, id: idOf(kind, object), before, after: entry?.object });
  }

  #modRevision(name: KeyName): number | undefined {
    return name.what === 'claim'
      ? this.#claims.get(name.claim)?.modRevision
      : this.tables[name.kind].entry(name.id)?.modRevision;
  }

  #cacheKey(name: KeyName): string {
    return name.what === 'claim' ? `claim ${name.claim}` : `${name.kind} ${name.id}`;
  }

  #arrive(revision: number, changes: readonly Change[]): void {
    this.#revision = revision;
    if (changes.length > 0) {
      for (const subscriber of [...this.#subscribers]) {
        try {
          subscriber(changes, this);
        } catch (error) {
          this.onSubscriberError(error);
        }
      }
    }
    for (const waiter of [...this.#waiters]) {
      if (waiter.revision > revision) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}

/** The template a task was made from, or the one it carries itself. */
export function specOf(view: Pick<View, 'specs'>, task: Task): TaskSpec {
  const spec = view.specs.get(specId(task.serviceId, task.specVersion))?.task ?? task.spec;
  if (!spec)
    throw new ClusterError('notFound', `spec ${task.specVersion} of service ${task.serviceId} not found`);
  return spec;
}
