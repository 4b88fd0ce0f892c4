import { ContainerState } from '@tessera/shared/model';
import { ContainerAssignment } from '@tessera/shared/wire';
import { z } from 'zod';
import { Journal, type JournalRecord, type OnFault } from './journal.js';

/** What only the agent knows of a container, beside the state it reports. */
export interface ContainerMemory {
  /** The generation being worked on, and how often the container had been started when that began. */
  readonly underWay?: { readonly generation: number; readonly starts: number };
  /** The user ended it: what runs now, or ended last, does not come back by `unless-stopped`. */
  readonly stoppedByUser: boolean;
  /** The next exit is final, whatever the restart policy says; until the user starts it again. */
  readonly staysDown: boolean;
  /** How long the last restart by policy waited; 0: none since a run that lasted. */
  readonly backoffMs: number;
  /** Unix time at which it starts again by its policy. Absent: it does not. */
  readonly restartAtMs?: number;
  /** Boot in which it was last looked at. */
  readonly bootId: string;
  /** Everything of it is gone from this host, and it is not to be made again. */
  readonly removed: boolean;
  /** It came from another node: it is made here though nobody asks for that, and tried again until it is. */
  readonly arriving?: boolean;
}

/** A container of this node, as last assigned, and where it has come to. */
export interface StoredContainer {
  readonly assignment: ContainerAssignment;
  /** As reported last, or about to be. */
  readonly state: ContainerState;
  readonly memory: ContainerMemory;
}

/** What the agent must find again after its own death, of the containers that are no task's. */
export interface ContainerStorage {
  all(): ReadonlyMap<string, StoredContainer>;
  put(id: string, stored: StoredContainer): void;
  delete(id: string): void;
  /** What was put survives a power cut once this returns. */
  sync(): void;
}

const KIND = { assignment: 1, progress: 2, delete: 3 } as const;

const memorySchema = z.object({
  underWay: z.object({ generation: z.number(), starts: z.number() }).optional(),
  stoppedByUser: z.boolean(),
  staysDown: z.boolean(),
  backoffMs: z.number(),
  restartAtMs: z.number().optional(),
  bootId: z.string(),
  removed: z.boolean(),
  arriving: z.boolean().optional(),
});

const progressSchema = z.object({ id: z.string(), state: z.unknown(), memory: memorySchema });

/** Containers in a journal. State and memory are one record: no death can come between them. */
export class ContainerJournal implements ContainerStorage {
  readonly #containers = new Map<string, StoredContainer>();
  /** Read, but their other half has not come yet. */
  readonly #assignments = new Map<string, ContainerAssignment>();
  readonly #journal: Journal;

  constructor(path: string, onFault?: OnFault) {
    this.#journal = new Journal(
      path,
      (record) => this.#apply(record),
      () =>
        [...this.#containers].flatMap(([id, stored]) => [
          assignmentRecord(stored.assignment),
          progressRecord(id, stored),
        ]),
      onFault,
    );
    this.#assignments.clear();
  }

  all(): ReadonlyMap<string, StoredContainer> {
    return this.#containers;
  }

  put(id: string, stored: StoredContainer): void {
    const before = this.#containers.get(id);
    this.#containers.set(id, stored);
    const records = [];
    if (before?.assignment !== stored.assignment) records.push(assignmentRecord(stored.assignment));
    if (before?.state !== stored.state || before.memory !== stored.memory)
      records.push(progressRecord(id, stored));
    this.#journal.append(records);
  }

  delete(id: string): void {
    if (this.#containers.delete(id)) this.#journal.append([{ kind: KIND.delete, payload: Buffer.from(id) }]);
  }

  sync(): void {
    this.#journal.sync();
  }

  close(): void {
    this.#journal.close();
  }

  #apply({ kind, payload }: JournalRecord): void {
    if (kind === KIND.assignment) {
      const assignment = ContainerAssignment.decode(payload);
      const id = assignment.container?.id ?? '';
      const stored = this.#containers.get(id);
      if (stored) this.#containers.set(id, { ...stored, assignment });
      else this.#assignments.set(id, assignment);
    } else if (kind === KIND.progress) {
      const parsed = progressSchema.safeParse(JSON.parse(Buffer.from(payload).toString()));
      const id = parsed.data?.id ?? '';
      const assignment = this.#containers.get(id)?.assignment ?? this.#assignments.get(id);
      if (parsed.success && assignment)
        this.#containers.set(id, {
          assignment,
          state: ContainerState.fromJSON(parsed.data.state),
          // Absent and undefined are the same in what was parsed, not for the compiler.
          memory: parsed.data.memory as ContainerMemory,
        });
    } else if (kind === KIND.delete) {
      const id = Buffer.from(payload).toString();
      this.#containers.delete(id);
      this.#assignments.delete(id);
    }
  }
}

const assignmentRecord = (assignment: ContainerAssignment): JournalRecord => ({
  kind: KIND.assignment,
  payload: ContainerAssignment.encode(assignment).finish(),
});
const progressRecord = (id: string, { state, memory }: StoredContainer): JournalRecord => ({
  kind: KIND.progress,
  payload: Buffer.from(JSON.stringify({ id, state: ContainerState.toJSON(state), memory })),
});
