import type { ClusterSpec } from '@tessera/shared/model';

/** With more agents than this on one manager, they beat more slowly. */
const AGENTS_AT_FULL_BEAT = 1_000;

export interface Heartbeat {
  readonly heartbeatPeriodMs: number;
  /** A node unheard for this long is given up. */
  readonly graceMs: number;
}

/** How often agents are to beat, and how long they may be silent. */
export function heartbeatOf(spec: ClusterSpec | undefined, agentCount: number): Heartbeat {
  const slower = Math.max(1, Math.ceil(agentCount / AGENTS_AT_FULL_BEAT));
  const heartbeatPeriodMs = (spec?.heartbeatPeriodMs ?? 0) * slower;
  return { heartbeatPeriodMs, graceMs: heartbeatPeriodMs * (spec?.heartbeatGracePeriods ?? 0) };
}
