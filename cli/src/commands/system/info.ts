import type { InfoJson } from '@tessera/shared/docker-api';
import { binarySize } from '@tessera/shared/units';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/inspected.js';

export const info: Verb = (program, cli) => {
  program
    .command('info')
    .description('Show this host and its cluster')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async ({ format }: { format?: string }) => {
      const found = await cli.api.get<InfoJson>('/info');
      if (format) {
        printInspected(cli.out, [found], format);
        return;
      }
      const { Swarm } = found;
      const lines: [string, string | number | undefined][] = [
        ['Host', found.Name],
        ['Version', found.ServerVersion],
        ['Kernel', String(found.KernelVersion)],
        ['CPUs', found.NCPU],
        ['Memory', binarySize(found.MemTotal)],
        ['Containers running', found.ContainersRunning],
        ['Images', found.Images],
        ['Cluster', Swarm.LocalNodeState],
        ['Node', Swarm.NodeID || undefined],
        ['Address', Swarm.NodeAddr || undefined],
        ['Role', Swarm.NodeID ? (Swarm.ControlAvailable ? 'manager' : 'worker') : undefined],
        ['Nodes', Swarm.Nodes],
        ['Managers', Swarm.Managers],
        ['Error', Swarm.Error || undefined],
      ];
      for (const [name, value] of lines) if (value !== undefined) cli.out.line(`${name}: ${value}`);
    });
};
