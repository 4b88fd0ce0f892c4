import type { NetworkJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/list.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show networks in full')
    .argument('<network...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async (names: string[], { format }: { format?: string }) => {
      const networks = await Promise.all(
        names.map((name) => cli.api.get<NetworkJson>(`/networks/${encodeURIComponent(name)}`)),
      );
      printInspected(cli.out, networks, format);
    });
};
