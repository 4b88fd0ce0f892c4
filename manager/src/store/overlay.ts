import { idOf, keyId } from './kinds.js';
import type { KindTable } from './tables.js';
import type { Kind, Objects, Table } from './view.js';

/** What a transaction has written of one kind so far, laid over the cache's table. */
export class Overlay<K extends Kind> implements Table<Objects[K]> {
  /** By key id; undefined means deleted. */
  readonly #writes = new Map<string, Objects[K] | undefined>();
  #sorted: readonly Objects[K][] | undefined;

  constructor(private readonly base: KindTable<K>) {}

  get writes(): ReadonlyMap<string, Objects[K] | undefined> {
    return this.#writes;
  }

  get size(): number {
    return this.#writes.size === 0 ? this.base.size : this.all().length;
  }

  get(id: string): Objects[K] | undefined {
    const key = keyId(this.base.kind, id);
    return this.#writes.has(key) ? this.#writes.get(key) : this.base.entry(key)?.object;
  }

  all(): readonly Objects[K][] {
    if (this.#writes.size === 0) return this.base.all();
    this.#sorted ??= this.over(this.base.all(), () => true);
    return this.#sorted;
  }

  write(id: string, object: Objects[K] | undefined): void {
    this.#writes.set(keyId(this.base.kind, id), object);
    this.#sorted = undefined;
  }

  /** `found` of the cache as this transaction sees it: what it wrote replaces, joins (if it matches) or leaves. */
  over(found: readonly Objects[K][], matches: (object: Objects[K]) => boolean): readonly Objects[K][] {
    if (this.#writes.size === 0) return found;
    const { kind } = this.base;
    const written: Objects[K][] = [];
    for (const object of this.#writes.values()) if (object && matches(object)) written.push(object);
    const untouched = found.filter((object) => !this.#writes.has(keyId(kind, idOf(kind, object))));
    if (written.length === 0) return untouched;
    const key = (object: Objects[K]) => idOf(kind, object);
    return [...untouched, ...written].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }
}
