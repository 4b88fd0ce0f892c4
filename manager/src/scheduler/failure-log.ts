/** Failures of one service on one node within this time make the scheduler look elsewhere first. */
const WINDOW_MS = 5 * 60_000;
const FAILURES_MAX = 5;
/** Failures between two looks for what can be forgotten. */
const FORGET_EVERY = 1_000;

/**
 * Where services have failed lately. A hint for scores alone, so a new leader may begin without it.
 *
 * Source: swarmkit manager/scheduler/nodeinfo (five failures within five minutes).
 */
export class FailureLog {
  readonly #byService = new Map<string, Map<string, number[]>>();
  #count = 0;

  note(serviceId: string, nodeId: string, nowMs: number): void {
    let nodes = this.#byService.get(serviceId);
    if (!nodes) {
      nodes = new Map();
      this.#byService.set(serviceId, nodes);
    }
    const recent = (nodes.get(nodeId) ?? []).filter((atMs) => atMs > nowMs - WINDOW_MS);
    nodes.set(nodeId, [...recent, nowMs].slice(-FAILURES_MAX));
    if (++this.#count % FORGET_EVERY === 0) this.#forget(nowMs);
  }

  /** The nodes on which the service has failed so often that others come first. */
  nodesAvoidedBy(serviceId: string, nowMs: number): ReadonlySet<string> {
    const avoided = new Set<string>();
    for (const [nodeId, times] of this.#byService.get(serviceId) ?? []) {
      if (times.length >= FAILURES_MAX && times[0]! > nowMs - WINDOW_MS) avoided.add(nodeId);
    }
    return avoided;
  }

  #forget(nowMs: number): void {
    for (const [serviceId, nodes] of this.#byService) {
      for (const [nodeId, times] of nodes) if (times.at(-1)! <= nowMs - WINDOW_MS) nodes.delete(nodeId);
      if (nodes.size === 0) this.#byService.delete(serviceId);
    }
  }
}
