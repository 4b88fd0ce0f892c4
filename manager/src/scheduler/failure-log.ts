/** Failures of one service on one node within this time make the scheduler look elsewhere first. */
const WINDOW_MS = 5 * 60_000;
const FAILURES_MAX = 5;

/**
 * Where services have failed lately. A hint for scores alone, so a new leader may begin without it.
 *
 * Source: swarmkit manager/scheduler/nodeinfo (five failures within five minutes).
 */
export class FailureLog {
  readonly #times = new Map<string, number[]>();

  note(serviceId: string, nodeId: string, nowMs: number): void {
    const key = `${serviceId}/${nodeId}`;
    const recent = (this.#times.get(key) ?? []).filter((atMs) => atMs > nowMs - WINDOW_MS);
    this.#times.set(key, [...recent, nowMs].slice(-FAILURES_MAX));
    if (this.#times.size > 10_000) this.#forget(nowMs);
  }

  /** Whether the service has failed so often on the node that others come first. */
  keepsFailing(serviceId: string, nodeId: string, nowMs: number): boolean {
    const times = this.#times.get(`${serviceId}/${nodeId}`);
    return times !== undefined && times.length >= FAILURES_MAX && times[0]! > nowMs - WINDOW_MS;
  }

  #forget(nowMs: number): void {
    for (const [key, times] of this.#times) {
      if ((times.at(-1) ?? 0) <= nowMs - WINDOW_MS) this.#times.delete(key);
    }
  }
}
