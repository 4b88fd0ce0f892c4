import type { NatBridge } from './network-plane.js';

/** What is known of the bridge, for whoever tells the cluster of it. */
export class KnownBridge implements NatBridge {
  #addr = '';
  readonly #listeners = new Set<() => void>();

  get addr(): string {
    return this.#addr;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  learn(addr = this.#addr): void {
    if (addr === this.#addr) return;
    this.#addr = addr;
    for (const listener of this.#listeners) listener();
  }
}
