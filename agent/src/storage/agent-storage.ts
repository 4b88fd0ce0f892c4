import { join } from 'node:path';
import type { DesiredNetworks } from '../network/network-plane.js';
import { NetworkStorage } from './network-storage.js';
import { type StoredTask, TaskJournal, type TaskStorage } from './task-journal.js';

/** What the agent finds again after its own death. */
export interface AgentStorage extends TaskStorage {
  /** As last written; undefined when none have been. */
  networks(): DesiredNetworks | undefined;
  putNetworks(networks: DesiredNetworks): void;
}

/** The same, in files of one directory: `<data-dir>/agent`. */
export class AgentDirectory implements AgentStorage {
  readonly #journal: TaskJournal;
  readonly #networks: NetworkStorage;

  constructor(directory: string) {
    this.#journal = new TaskJournal(join(directory, 'tasks.journal'));
    this.#networks = new NetworkStorage(join(directory, 'networks'));
  }

  all(): ReadonlyMap<string, StoredTask> {
    return this.#journal.all();
  }

  put(stored: StoredTask): void {
    this.#journal.put(stored);
  }

  delete(taskId: string): void {
    this.#journal.delete(taskId);
  }

  networks(): DesiredNetworks | undefined {
    return this.#networks.read();
  }

  putNetworks(networks: DesiredNetworks): void {
    this.#networks.write(networks);
  }

  close(): void {
    this.#journal.close();
  }
}
