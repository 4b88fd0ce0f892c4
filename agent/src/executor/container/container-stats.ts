import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { ContainerStats, InterfaceCounters } from '../live-container.js';
import type { GroupStats } from './cgroups/index.js';
import { TICK_NS } from './cgroups/values.js';

/** @param pid of the container's first process, whose network namespace is looked into */
export async function containerStats(group: GroupStats, pid: number, atMs: number): Promise<ContainerStats> {
  const [host, devices] = await Promise.all([
    readFile('/proc/stat', 'utf8'),
    // By its /proc entry nobody has to enter the namespace.
    readFile(`/proc/${pid}/net/dev`, 'utf8').catch(() => ''),
  ]);
  return {
    ...group,
    atMs,
    cpu: { ...group.cpu, hostNs: hostCpuNs(host), processors: availableParallelism() },
    networks: parseInterfaces(devices),
  };
}

/** The first eight columns of /proc/stat's `cpu` line, as `docker stats` counts a host's time. Source: proc(5). */
export function hostCpuNs(content: string): number {
  const columns = /^cpu +(.*)$/m.exec(content)?.[1]?.split(' ') ?? [];
  return columns.slice(0, 8).reduce((sum, ticks) => sum + Number(ticks) * TICK_NS, 0);
}

/** /proc/net/dev, without the loopback. */
export function parseInterfaces(content: string): InterfaceCounters[] {
  return content.split('\n').flatMap((line): InterfaceCounters[] => {
    const match = /^\s*(\S+):\s*(.*)$/.exec(line);
    if (!match || match[1] === 'lo') return [];
    const values = match[2]!.trim().split(/\s+/).map(Number);
    const at = (index: number) => values[index] ?? 0;
    return [
      {
        name: match[1]!,
        rxBytes: at(0),
        rxPackets: at(1),
        rxErrors: at(2),
        rxDropped: at(3),
        txBytes: at(8),
        txPackets: at(9),
        txErrors: at(10),
        txDropped: at(11),
      },
    ];
  });
}
