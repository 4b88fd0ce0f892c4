import type { TaskJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/list.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show tasks in full')
    .argument('<task...>', 'ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async (ids: string[], { format }: { format?: string }) => {
      const tasks = await Promise.all(
        ids.map((id) => cli.api.get<TaskJson>(`/tasks/${encodeURIComponent(id)}`)),
      );
      printInspected(cli.out, tasks, format);
    });
};
