import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredNetworks } from '../network/network-plane.js';
import { ContainerJournal, type ContainerStorage } from './container-journal.js';
import type { OnFault } from './journal.js';
import { NetworkStorage } from './network-storage.js';
import { readBytesIfAny } from './read-file.js';
import { type StoredTask, TaskJournal, type TaskStorage } from './task-journal.js';

/** What the agent finds again after its own death. */
export interface AgentStorage extends TaskStorage {
  /** Containers that are no task's. */
  readonly containers: ContainerStorage;
  /** As last written; undefined when none have been. */
  networks(): DesiredNetworks | undefined;
  putNetworks(networks: DesiredNetworks): void;
  /** Undefined before the first registration. */
  registration(): Registration | undefined;
  putRegistration(registration: Registration): void;
}

/** What a start can register with before its own parts are open. */
export interface Registration {
  readonly peerPort: number;
  readonly imageDigests: readonly string[];
  /** Of the NAT bridge, with prefix length; empty while it has none. */
  readonly bridgeAddr: string;
}

/** The same, in files of one directory: `<data-dir>/agent`. */
export class AgentDirectory implements AgentStorage {
  readonly containers: ContainerJournal;
  readonly #journal: TaskJournal;
  readonly #networks: NetworkStorage;
  readonly #registrationPath: string;

  /** @param onFault is told what could not be written: a full disk ends no agent, and no session of it */
  constructor(
    directory: string,
    private readonly onFault: OnFault = () => undefined,
  ) {
    this.#registrationPath = join(directory, 'registration.json');
    this.#journal = new TaskJournal(join(directory, 'tasks.journal'), onFault);
    this.containers = new ContainerJournal(join(directory, 'containers.journal'), onFault);
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
    this.#attempt(() => this.#networks.write(networks));
  }

  registration(): Registration | undefined {
    const content = readBytesIfAny(this.#registrationPath)?.toString();
    return content === undefined ? undefined : parseRegistration(content);
  }

  putRegistration(registration: Registration): void {
    this.#attempt(() => {
      const temporary = `${this.#registrationPath}.tmp`;
      writeFileSync(temporary, JSON.stringify(registration), { mode: 0o600 });
      renameSync(temporary, this.#registrationPath);
    });
  }

  /** For what a session brings again: the file before is good enough for a start. */
  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.onFault(error);
    }
  }

  close(): void {
    this.#journal.close();
    this.containers.close();
  }
}

/** A torn file, from a power cut, is as good as none: the next registration writes it anew. */
function parseRegistration(content: string): Registration | undefined {
  try {
    const { peerPort, imageDigests, bridgeAddr = '' } = JSON.parse(content) as Partial<Registration>;
    return Number.isSafeInteger(peerPort) && Array.isArray(imageDigests)
      ? { peerPort: peerPort as number, imageDigests, bridgeAddr }
      : undefined;
  } catch {
    return undefined;
  }
}
