import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { Task, TaskStatus } from '@tessera/shared/model';
import { readBytesIfAny } from './read-file.js';

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

type Kind = 'task' | 'status' | 'delete';
const KIND_CODES: Record<Kind, number> = { task: 1, status: 2, delete: 3 };

/** Length of payload (4 bytes), kind (1 byte), and the first 4 bytes of the SHA-256 of kind and payload. */
const HEADER_BYTES = 9;
/** A rewrite costs one pass over what lives; below this size it is not worth it. */
const COMPACT_FLOOR_BYTES = 1 << 20;

/**
 * Tasks and statuses as an append-only file: one small write per change, so that 200 tasks coming up together
 * cost 200 appends and no rewrite. A torn tail, from a death in the middle of a write, is cut off at the next start.
 *
 * Writes reach the kernel before a call returns, so they survive `kill -9`. They are not synced: after a power
 * cut the newest may be missing, and then a task is taken through the same steps once more.
 */
export class TaskJournal implements TaskStorage {
  readonly #tasks = new Map<string, StoredTask>();
  #file: number;
  #sizeBytes = 0;
  #liveBytes = 0;

  constructor(private readonly path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#read();
    this.#file = this.#rewrite();
  }

  all(): ReadonlyMap<string, StoredTask> {
    return this.#tasks;
  }

  put({ task, status }: StoredTask): void {
    const before = this.#tasks.get(task.id);
    this.#tasks.set(task.id, { task, status });
    const records = [];
    if (before?.task !== task) records.push(encode('task', Task.encode(task).finish()));
    if (before?.status !== status) records.push(encode('status', TaskStatus.encode(status).finish()));
    if (records.length > 0) this.#append(Buffer.concat(records));
  }

  delete(taskId: string): void {
    if (this.#tasks.delete(taskId)) this.#append(encode('delete', Buffer.from(taskId)));
  }

  close(): void {
    closeSync(this.#file);
  }

  #append(record: Buffer): void {
    writeFully(this.#file, record);
    this.#sizeBytes += record.length;
    if (this.#sizeBytes < Math.max(COMPACT_FLOOR_BYTES, 4 * this.#liveBytes)) return;
    closeSync(this.#file);
    this.#file = this.#rewrite();
  }

  #read(): void {
    const content = readBytesIfAny(this.path);
    if (!content) return;
    for (const { kind, payload } of decode(content)) this.#apply(kind, payload);
  }

  #apply(kind: Kind, payload: Buffer): void {
    switch (kind) {
      case 'task': {
        const task = Task.decode(payload);
        const status =
          this.#tasks.get(task.id)?.status ?? TaskStatus.create({ taskId: task.id, state: 'assigned' });
        this.#tasks.set(task.id, { task, status });
        break;
      }
      case 'status': {
        const status = TaskStatus.decode(payload);
        const stored = this.#tasks.get(status.taskId);
        if (stored) this.#tasks.set(status.taskId, { ...stored, status });
        break;
      }
      case 'delete':
        this.#tasks.delete(payload.toString());
    }
  }

  /** Writes what lives to a new file and puts it in the old one's place. Returns its descriptor. */
  #rewrite(): number {
    const content = Buffer.concat(
      [...this.#tasks.values()].flatMap(({ task, status }) => [
        encode('task', Task.encode(task).finish()),
        encode('status', TaskStatus.encode(status).finish()),
      ]),
    );
    const temporary = `${this.path}.tmp`;
    const file = openSync(temporary, 'w', 0o600);
    writeFully(file, content);
    // Before the rename, or a power cut could leave an empty file under the name of the full one.
    fsyncSync(file);
    renameSync(temporary, this.path);
    this.#sizeBytes = content.length;
    this.#liveBytes = content.length;
    return file;
  }
}

function encode(kind: Kind, payload: Uint8Array): Buffer {
  const record = Buffer.alloc(HEADER_BYTES + payload.length);
  record.writeUInt32LE(payload.length, 0);
  record[4] = KIND_CODES[kind];
  record.set(payload, HEADER_BYTES);
  checksum(record[4], record.subarray(HEADER_BYTES)).copy(record, 5);
  return record;
}

/** Records up to the first that is torn or damaged. */
function* decode(content: Buffer): Generator<{ kind: Kind; payload: Buffer }> {
  let offset = 0;
  while (offset + HEADER_BYTES <= content.length) {
    const length = content.readUInt32LE(offset);
    const code = content[offset + 4]!;
    const end = offset + HEADER_BYTES + length;
    if (end > content.length) return;
    const payload = content.subarray(offset + HEADER_BYTES, end);
    if (!checksum(code, payload).equals(content.subarray(offset + 5, offset + HEADER_BYTES))) return;
    const kind = (Object.keys(KIND_CODES) as Kind[]).find((name) => KIND_CODES[name] === code);
    // From a newer version: skipped, since we do not know what it would change.
    if (kind) yield { kind, payload };
    offset = end;
  }
}

const checksum = (code: number, payload: Uint8Array): Buffer =>
  createHash('sha256').update(Uint8Array.of(code)).update(payload).digest().subarray(0, 4);

/** write(2) may write less than asked, on a full disk for example. */
function writeFully(file: number, content: Buffer): void {
  for (let offset = 0; offset < content.length; ) offset += writeSync(file, content, offset);
}
