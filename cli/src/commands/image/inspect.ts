import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/list.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show images in full')
    .argument('<image...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async (names: string[], { format }: { format?: string }) => {
      const images = await Promise.all(names.map((name) => cli.api.get<object>(`/images/${name}/json`)));
      printInspected(cli.out, images, format);
    });
};
