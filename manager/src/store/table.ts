import type { LeaseId } from './kv/kv.js';
import type { Table } from './view.js';

/** What the store remembers of one key beside the object: what compares need, and what skips idle writes. */
export interface Entry<T> {
  readonly object: T;
  readonly value: Uint8Array;
  readonly modRevision: number;
  /** Lease the key dies with, or ''. */
  readonly lease: LeaseId;
}

/**
 * Objects by id, with a list sorted by id that is made when first asked for and then kept up to date.
 * A list handed out never changes: the next write copies it first.
 */
export class SortedTable<T> implements Table<T> {
  readonly #objects = new Map<string, T>();
  #ids: string[] | undefined;
  #sorted: T[] = [];
  #shared = false;

  constructor(private readonly idOf: (object: T) => string) {}

  get size(): number {
    return this.#objects.size;
  }

  get(id: string): T | undefined {
    return this.#objects.get(id);
  }

  all(): readonly T[] {
    if (!this.#ids) {
      this.#ids = [...this.#objects.keys()].sort();
      this.#sorted = this.#ids.map((id) => this.#objects.get(id)!);
    }
    this.#shared = true;
    return this.#sorted;
  }

  set(object: T): void {
    const id = this.idOf(object);
    const known = this.#objects.has(id);
    this.#objects.set(id, object);
    if (!this.#ids) return;
    const at = this.#prepare(this.#ids, id);
    this.#sorted.splice(at, known ? 1 : 0, object);
    if (!known) this.#ids.splice(at, 0, id);
  }

  delete(id: string): void {
    if (!this.#objects.delete(id) || !this.#ids) return;
    const at = this.#prepare(this.#ids, id);
    this.#sorted.splice(at, 1);
    this.#ids.splice(at, 1);
  }

  /** Where `id` belongs in the list, which is this table's own from here on. */
  #prepare(ids: readonly string[], id: string): number {
    if (this.#shared) this.#sorted = this.#sorted.slice();
    this.#shared = false;
    return lowerBound(ids, id);
  }
}

/** The first position whose id is not below `id`. */
function lowerBound(ids: readonly string[], id: string): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Objects grouped by one of their properties; each group is sorted by id. An empty property groups too. */
export class GroupIndex<T> {
  readonly #groups = new Map<string, SortedTable<T>>();

  constructor(
    private readonly idOf: (object: T) => string,
    private readonly keysOf: (object: T) => readonly string[],
  ) {}

  find(key: string): readonly T[] {
    return this.#groups.get(key)?.all() ?? [];
  }

  change(before: T | undefined, after: T | undefined): void {
    if (before) for (const key of this.keysOf(before)) this.#remove(key, this.idOf(before));
    if (after) for (const key of this.keysOf(after)) this.#add(key, after);
  }

  #add(key: string, object: T): void {
    let group = this.#groups.get(key);
    if (!group) {
      group = new SortedTable(this.idOf);
      this.#groups.set(key, group);
    }
    group.set(object);
  }

  #remove(key: string, id: string): void {
    const group = this.#groups.get(key);
    group?.delete(id);
    if (group?.size === 0) this.#groups.delete(key);
  }
}
