import type { ImageSummaryJson } from '@tessera/shared/docker-api';
import { decimalSize, timeAgo } from '@tessera/shared/units';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList, type Row } from '../../output/list.js';
import { shortId } from '../../output/words.js';

const COLUMNS = [
  ['Repository', 'REPOSITORY'],
  ['Tag', 'TAG'],
  ['ID', 'IMAGE ID'],
  ['CreatedSince', 'CREATED'],
  ['Size', 'SIZE'],
] as const;
const DIGEST_COLUMNS = [...COLUMNS.slice(0, 2), ['Digest', 'DIGEST'] as const, ...COLUMNS.slice(2)];

interface Flags {
  readonly filter?: string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc: boolean;
  readonly digests?: boolean;
  readonly all?: boolean;
}

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List images of the cluster')
    .argument('[repository]', 'only these: NAME[:TAG], with * for any')
    .option('-f, --filter <filter>', 'KEY=VALUE: reference, label, dangling, before, since, until', many)
    .option('-a, --all', 'also those that others were committed from')
    .option('--digests', 'show digests')
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten ids')
    .option('-q, --quiet', 'only ids')
    .action(async (repository: string | undefined, flags: Flags) => {
      const filters = parseFilterFlags(flags.filter);
      if (repository) filters.reference = [repository];
      const images = await cli.api.get<ImageSummaryJson[]>('/images/json', {
        filters: encodeFilters(filters),
        all: flags.all ? 1 : undefined,
      });
      const nowMs = cli.clock.now();
      const rows = images.flatMap((image) => imageRows(image, nowMs, flags.trunc));
      printList(cli.out, flags.digests ? DIGEST_COLUMNS : COLUMNS, 'ID', rows, flags);
    });
};

/** One line for each name. */
function imageRows(image: ImageSummaryJson, nowMs: number, trunc: boolean): Row[] {
  const names = image.RepoTags.length > 0 ? image.RepoTags : ['<none>:<none>'];
  return names.map((name) => {
    const colon = name.lastIndexOf(':');
    const repository = name.slice(0, colon);
    const digest = image.RepoDigests.find((text) => text.startsWith(`${repository}@`));
    return {
      Repository: repository,
      Tag: name.slice(colon + 1),
      ID: trunc ? shortId(image.Id) : image.Id,
      Digest: digest?.slice(repository.length + 1) ?? '<none>',
      CreatedSince: image.Created > 0 ? timeAgo(nowMs, image.Created * 1000) : 'N/A',
      CreatedAt: new Date(image.Created * 1000).toISOString(),
      Size: decimalSize(image.Size),
      Containers: String(image.Containers),
    };
  });
}
