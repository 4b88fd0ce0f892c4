import type { SwarmJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/inspected.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show the cluster, without its join tokens')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async ({ format }: { format?: string }) => {
      const { JoinTokens: _, ...rest } = await cli.api.get<SwarmJson>('/swarm');
      const cluster = await cli.api.get<object>('/tessera/v1/cluster');
      printInspected(cli.out, [{ ...rest, ...cluster }], format);
    });
};
