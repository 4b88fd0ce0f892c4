import type { NodeJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/list.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show nodes in full')
    .argument('<node...>', 'ids or names; self is the node of this API')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async (names: string[], { format }: { format?: string }) => {
      const nodes = await Promise.all(
        names.map((name) => cli.api.get<NodeJson>(`/nodes/${encodeURIComponent(name)}`)),
      );
      printInspected(cli.out, nodes, format);
    });
};
