import type { View } from '../store/view.js';

/** HOST:PORT of the gRPC servers of all managers, this one's first. */
export function managerAddrs(view: View, own: string): string[] {
  const addrs = new Set([own]);
  for (const { id, role } of view.nodes.all()) {
    const addr = role === 'manager' ? view.nodeStatuses.get(id)?.managerAddr : '';
    if (addr) addrs.add(addr);
  }
  return [...addrs];
}
