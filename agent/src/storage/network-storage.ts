import { renameSync, writeFileSync } from 'node:fs';
import { type Assignment, Assignments } from '@tessera/shared/wire';
import type { DesiredNetworks } from '../network/network-plane.js';
import { readBytesIfAny } from './read-file.js';

/** The networks as last told by a manager: what an agent that starts while no manager answers goes on with. */
export class NetworkStorage {
  constructor(private readonly path: string) {}

  read(): DesiredNetworks | undefined {
    const content = readBytesIfAny(this.path);
    if (!content) return undefined;
    const networks: DesiredNetworks['networks'][number][] = [];
    const endpoints: DesiredNetworks['endpoints'][number][] = [];
    const virtualServices: DesiredNetworks['virtualServices'][number][] = [];
    for (const { item } of Assignments.decode(content).items) {
      if (item?.$case === 'network') networks.push(item.value);
      else if (item?.$case === 'endpoint') endpoints.push(item.value);
      else if (item?.$case === 'virtualService') virtualServices.push(item.value);
    }
    return { networks, endpoints, virtualServices };
  }

  write({ networks, endpoints, virtualServices }: DesiredNetworks): void {
    const items: Assignment[] = [
      ...networks.map((value) => ({ key: '', item: { $case: 'network' as const, value } })),
      ...endpoints.map((value) => ({ key: '', item: { $case: 'endpoint' as const, value } })),
      ...virtualServices.map((value) => ({ key: '', item: { $case: 'virtualService' as const, value } })),
    ];
    const temporary = `${this.path}.tmp`;
    writeFileSync(temporary, Assignments.encode(Assignments.fromPartial({ items } as never)).finish(), {
      mode: 0o600,
    });
    renameSync(temporary, this.path);
  }
}
