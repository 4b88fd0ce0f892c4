import type { TaskJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show tasks in full')
    .argument('<task...>', 'ids, or names such as web.1')
    .option('-f, --format <template>', 'json, or a Go template')
    .action((ids: string[], flags: InspectFlags) =>
      inspectEach(cli, ids, flags, (id) => cli.api.get<TaskJson>(`/tasks/${encodeURIComponent(id)}`)),
    );
};
