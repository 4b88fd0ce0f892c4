import type { ImageHistoryJson } from '@tessera/shared/docker-api';
import { decimalSize, timeAgo } from '@tessera/shared/units';
import type { Verb } from '../../cli.js';
import { printList } from '../../output/list.js';
import { shortId } from '../../output/words.js';

const COLUMNS = [
  ['ID', 'IMAGE'],
  ['CreatedSince', 'CREATED'],
  ['CreatedBy', 'CREATED BY'],
  ['Size', 'SIZE'],
  ['Comment', 'COMMENT'],
] as const;
const CREATED_BY_MAX = 45;

export const history: Verb = (noun, cli) => {
  noun
    .command('history')
    .description('Show what an image was made of, the newest step first')
    .argument('<image>', 'name or id')
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten ids and commands')
    .option('-q, --quiet', 'only ids')
    .action(async (image: string, flags: { format?: string; trunc: boolean; quiet?: boolean }) => {
      const steps = await cli.api.get<ImageHistoryJson[]>(`/images/${image}/history`);
      const nowMs = cli.clock.now();
      const rows = steps.map(({ Id, Created, CreatedBy, Size, Comment }) => ({
        ID: flags.trunc && Id.startsWith('sha256:') ? shortId(Id) : Id,
        CreatedSince: Created > 0 ? timeAgo(nowMs, Created * 1000) : 'N/A',
        CreatedAt: new Date(Created * 1000).toISOString(),
        CreatedBy:
          flags.trunc && CreatedBy.length > CREATED_BY_MAX
            ? `${CreatedBy.slice(0, CREATED_BY_MAX - 1)}…`
            : CreatedBy,
        Size: decimalSize(Size),
        Comment,
      }));
      printList(cli.out, COLUMNS, 'ID', rows, flags);
    });
};
