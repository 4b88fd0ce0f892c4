import { hostOf, joinAddress, portOf } from './addresses.js';
import type { NodeIdentity, NodeSettings } from './node-identity.js';

/** The manager on this node. Both addresses are HOST:PORT. */
export interface OwnManager {
  /** What the cluster knows it by. This host need not reach itself there: it may be the outside of a NAT. */
  readonly advertised: string;
  /** Where it listens, for those on the same host. */
  readonly local: string;
}

const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** Undefined on a worker. */
export function ownManager(
  { role }: Pick<NodeIdentity, 'role'>,
  { listenAddr, advertiseAddr }: Pick<NodeSettings, 'listenAddr' | 'advertiseAddr'>,
): OwnManager | undefined {
  if (role !== 'manager') return undefined;
  const host = hostOf(listenAddr);
  return { advertised: advertiseAddr, local: joinAddress(LOOPBACK[host] ?? host, portOf(listenAddr)) };
}

/** Where a manager is dialled that the cluster knows by `addr`. */
export const dialledAt = (own: OwnManager | undefined, addr: string): string =>
  own?.advertised === addr ? own.local : addr;
