import type { ServiceJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/list.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show services in full')
    .argument('<service...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async (names: string[], { format }: { format?: string }) => {
      const services = await Promise.all(
        names.map((name) => cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`)),
      );
      printInspected(cli.out, services, format);
    });
};
