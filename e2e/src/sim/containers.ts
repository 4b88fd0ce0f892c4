import type { Task } from '@tessera/shared/model';

/** A container that really runs somewhere, whatever any manager believes. */
export interface Container {
  readonly task: Task;
  readonly nodeId: string;
  readonly startedAtMs: number;
}

/** The truth about what runs on all hosts together; rules watch it. */
export class Containers {
  readonly #running = new Map<string, Container>();
  readonly #bySlot = new Map<string, Set<Container>>();
  readonly #shared = new Map<string, Set<Container>>();
  readonly #byAddress = new Map<string, Set<Container>>();

  constructor(private readonly onStart: (container: Container) => void) {}

  start(container: Container): void {
    this.#running.set(container.task.id, container);
    this.onStart(container);
    addTo(this.#bySlot, slotOf(container.task), container);
    this.#noteShared(slotOf(container.task));
    for (const address of addressesOf(container.task)) addTo(this.#byAddress, address, container);
  }

  stop(taskId: string): void {
    const container = this.#running.get(taskId);
    if (!container) return;
    this.#running.delete(taskId);
    removeFrom(this.#bySlot, slotOf(container.task), container);
    this.#noteShared(slotOf(container.task));
    for (const address of addressesOf(container.task)) removeFrom(this.#byAddress, address, container);
  }

  isRunning(taskId: string): boolean {
    return this.#running.has(taskId);
  }

  get size(): number {
    return this.#running.size;
  }

  all(): Iterable<Container> {
    return this.#running.values();
  }

  inSlotOf(task: Task): Iterable<Container> {
    return this.#bySlot.get(slotOf(task)) ?? [];
  }

  /** Slots in which more than one runs. */
  *sharedSlots(): Iterable<readonly Container[]> {
    for (const containers of this.#shared.values()) yield [...containers];
  }

  #noteShared(slot: string): void {
    const containers = this.#bySlot.get(slot);
    if (containers && containers.size > 1) this.#shared.set(slot, containers);
    else this.#shared.delete(slot);
  }

  atAddressesOf(task: Task): Container[] {
    return addressesOf(task).flatMap((address) => [...(this.#byAddress.get(address) ?? [])]);
  }
}

const slotOf = (task: Task): string => `${task.serviceId}/${task.slot === 0 ? task.nodeId : task.slot}`;

const addressesOf = (task: Task): string[] =>
  task.networks.filter(({ addr }) => addr !== '').map(({ networkId, addr }) => `${networkId} ${addr}`);

function addTo(map: Map<string, Set<Container>>, key: string, container: Container): void {
  const set = map.get(key);
  if (set) set.add(container);
  else map.set(key, new Set([container]));
}

function removeFrom(map: Map<string, Set<Container>>, key: string, container: Container): void {
  const set = map.get(key);
  set?.delete(container);
  if (set?.size === 0) map.delete(key);
}
