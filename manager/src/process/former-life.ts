import { type Kv, LEADER_KEY } from '../store/index.js';
import { parseLeader } from '../store/leader-key.js';

/**
 * A manager that was killed leads on in the store until its lease ends. This process holds its pid file, so it
 * is gone for certain, and nobody need wait.
 */
export async function endFormerLife(kv: Kv, nodeId: string): Promise<void> {
  const { kvs } = await kv.range({ key: LEADER_KEY });
  const [leader] = kvs;
  if (leader?.lease && parseLeader(leader.value)?.managerId === nodeId) await kv.revokeLease(leader.lease);
}
