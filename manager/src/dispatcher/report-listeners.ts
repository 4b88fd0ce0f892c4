import type { ContainerState } from '@tessera/shared/model';

type Handler = (state: ContainerState) => void;

/** Who waits for an agent's word on a container, by container. */
export class ReportListeners {
  readonly #handlers = new Map<string, Set<Handler>>();

  /** @returns what ends it */
  add(containerId: string, handler: Handler): () => void {
    const handlers = this.#handlers.get(containerId) ?? new Set();
    this.#handlers.set(containerId, handlers.add(handler));
    return () => {
      handlers.delete(handler);
      if (handlers.size === 0 && this.#handlers.get(containerId) === handlers)
        this.#handlers.delete(containerId);
    };
  }

  tell(state: ContainerState): void {
    for (const handler of [...(this.#handlers.get(state.containerId) ?? [])]) handler(state);
  }
}
