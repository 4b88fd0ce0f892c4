import type { Clock } from '@tessera/shared/env';
import type { Assignment, Assignments } from '@tessera/shared/wire';
import type { View } from '../store/view.js';
import type { AssignmentIndex } from './assignment-index.js';
import { encodeItem, makeItem } from './assignment-items.js';

/** Well below gRPC's 4 MiB, and small enough that a heartbeat does not wait long behind one. */
const PIECE_BYTES_MAX = 256 * 1024;
const PIECE_ITEMS_MAX = 1_000;
/**
 * The first change of a burst leaves at once; those that follow within this time share a message. A container's do not
 * wait, since somebody waits for each of them; they take along what else has changed.
 */
const COALESCE_MS = 20;

interface EncodedItem {
  readonly item: Assignment;
  readonly bytes: Uint8Array;
}

/** Items as they were last made, shared by all nodes that get them. */
export class ItemCache {
  readonly #items = new Map<string, EncodedItem>();

  forget(key: string): void {
    this.#items.delete(key);
  }

  get(view: View, key: string): EncodedItem | undefined {
    const known = this.#items.get(key);
    if (known) return known;
    const item = makeItem(view, key);
    if (!item) return undefined;
    const made = { item, bytes: encodeItem(item) };
    this.#items.set(key, made);
    return made;
  }
}

export interface FeedOptions {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly index: AssignmentIndex;
  readonly items: ItemCache;
  /** False when the way down is full; `drained` says when it no longer is. */
  readonly send: (assignments: Assignments) => boolean;
}

/** Keeps one node's assignments as the store has them: everything once, in pieces, then what changes. */
export class AssignmentFeed {
  /** What the node has been sent, by key. */
  readonly #sent = new Map<string, Uint8Array>();
  readonly #dirty = new Set<string>();
  /** Keys of the full set that are still to be sent; undefined once it is complete. */
  #waiting: string[] | undefined;
  #fullRevision = 0;
  #sequence = 0;
  #lastSentMs = Number.NEGATIVE_INFINITY;
  #full = false;
  #cancel: (() => void) | undefined;
  #scheduled: 'soon' | 'later' | undefined;
  #isUrgent = false;
  #stopped = false;

  constructor(private readonly options: FeedOptions) {
    const { index, nodeId } = options;
    this.#waiting = [...index.keysOf(nodeId)];
    this.#fullRevision = index.view.revision;
    this.#sendFullSet();
  }

  mark(key: string): void {
    this.#dirty.add(key);
    if (key.startsWith('container/')) this.#isUrgent = true;
    this.#schedule();
  }

  /** The way down takes messages again. */
  drained(): void {
    this.#full = false;
    if (this.#waiting) this.#sendFullSet();
    else this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #sendFullSet(): void {
    while (this.#waiting && !this.#full && !this.#stopped) {
      const { items, taken } = this.#takePiece(this.#waiting);
      this.#waiting = taken < this.#waiting.length ? this.#waiting.slice(taken) : undefined;
      this.#send({ full: true, items, removed: [], complete: !this.#waiting, revision: this.#fullRevision });
    }
    if (!this.#waiting && this.#dirty.size > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#waiting || this.#full || this.#stopped || this.#dirty.size === 0) return;
    const sinceMs = this.options.clock.monotonic() - this.#lastSentMs;
    const when = this.#isUrgent || sinceMs >= COALESCE_MS ? 'soon' : 'later';
    if (this.#scheduled === 'soon' || this.#scheduled === when) return;
    this.#cancel?.();
    this.#scheduled = when;
    if (when === 'soon') queueMicrotask(() => this.#sendChanges());
    else this.#cancel = this.options.clock.after(COALESCE_MS - sinceMs, () => this.#sendChanges());
  }

  #sendChanges(): void {
    this.#scheduled = undefined;
    this.#isUrgent = false;
    while (this.#dirty.size > 0 && !this.#full && !this.#stopped) {
      const keys = tasksLast(this.#dirty);
      const { items, removed, taken } = this.#takePiece(keys);
      for (const key of keys.slice(0, taken)) this.#dirty.delete(key);
      if (items.length + removed.length > 0)
        this.#send({
          full: false,
          items,
          removed,
          complete: true,
          revision: this.options.index.view.revision,
        });
    }
  }

  /** Compares the items of some keys with what was sent, until a message is full. */
  #takePiece(keys: Iterable<string>): { items: Assignment[]; removed: string[]; taken: number } {
    const { index, items: cache, nodeId } = this.options;
    const items: Assignment[] = [];
    const removed: string[] = [];
    let taken = 0;
    let bytes = 0;
    for (const key of keys) {
      const made = index.concerns(nodeId, key) ? cache.get(index.view, key) : undefined;
      const before = this.#sent.get(key);
      if (made && (!before || !sameBytes(before, made.bytes))) {
        bytes += made.bytes.length;
        if (items.length > 0 && bytes > PIECE_BYTES_MAX) break;
        items.push(made.item);
        this.#sent.set(key, made.bytes);
      } else if (!made && before) {
        removed.push(key);
        this.#sent.delete(key);
      }
      taken++;
      if (items.length + removed.length >= PIECE_ITEMS_MAX) break;
    }
    return { items, removed, taken };
  }

  #send(assignments: Omit<Assignments, 'sequence'>): void {
    this.#lastSentMs = this.options.clock.monotonic();
    this.#full = !this.options.send({ ...assignments, sequence: ++this.#sequence });
  }
}

/** Where a message is too small for all changes, a task or container comes after the networks and endpoints it needs. */
function tasksLast(keys: Iterable<string>): string[] {
  const isTask = (key: string) => key.startsWith('task/') || key.startsWith('container/');
  const all = [...keys];
  return [...all.filter((key) => !isTask(key)), ...all.filter(isTask)];
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a === b || Buffer.compare(a, b) === 0;
