import type { Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show images in full')
    .argument('<image...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(cli, names, flags, (name) => cli.api.get<object>(`/images/${name}/json`)),
    );
};
