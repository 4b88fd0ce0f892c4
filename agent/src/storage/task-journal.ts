import { Task, TaskStatus } from '@tessera/shared/model';
import { Journal, type JournalRecord, type OnFault } from './journal.js';

/** A task of this node, and where it has come to. */
export interface StoredTask {
  readonly task: Task;
  readonly status: TaskStatus;
}

/** What the agent must find again after its own death: its tasks and how far each has come. */
export interface TaskStorage {
  all(): ReadonlyMap<string, StoredTask>;
  put(stored: StoredTask): void;
  delete(taskId: string): void;
}

const KIND = { task: 1, status: 2, delete: 3 } as const;

/** Tasks and statuses in a journal: after a power cut a task may be taken through the same steps once more. */
export class TaskJournal implements TaskStorage {
  readonly #tasks = new Map<string, StoredTask>();
  readonly #journal: Journal;

  constructor(path: string, onFault?: OnFault) {
    this.#journal = new Journal(
      path,
      (record) => this.#apply(record),
      () => [...this.#tasks.values()].flatMap(({ task, status }) => [taskRecord(task), statusRecord(status)]),
      onFault,
    );
  }

  all(): ReadonlyMap<string, StoredTask> {
    return this.#tasks;
  }

  put({ task, status }: StoredTask): void {
    const before = this.#tasks.get(task.id);
    this.#tasks.set(task.id, { task, status });
    const records = [];
    if (before?.task !== task) records.push(taskRecord(task));
    if (before?.status !== status) records.push(statusRecord(status));
    this.#journal.append(records);
  }

  delete(taskId: string): void {
    if (this.#tasks.delete(taskId))
      this.#journal.append([{ kind: KIND.delete, payload: Buffer.from(taskId) }]);
  }

  close(): void {
    this.#journal.close();
  }

  /** A kind from a newer version is skipped, since we do not know what it would change. */
  #apply({ kind, payload }: JournalRecord): void {
    if (kind === KIND.task) {
      const task = Task.decode(payload);
      const status =
        this.#tasks.get(task.id)?.status ?? TaskStatus.create({ taskId: task.id, state: 'assigned' });
      this.#tasks.set(task.id, { task, status });
    } else if (kind === KIND.status) {
      const status = TaskStatus.decode(payload);
      const stored = this.#tasks.get(status.taskId);
      if (stored) this.#tasks.set(status.taskId, { ...stored, status });
    } else if (kind === KIND.delete) this.#tasks.delete(Buffer.from(payload).toString());
  }
}

const taskRecord = (task: Task): JournalRecord => ({ kind: KIND.task, payload: Task.encode(task).finish() });
const statusRecord = (status: TaskStatus): JournalRecord => ({
  kind: KIND.status,
  payload: TaskStatus.encode(status).finish(),
});
