import { invalid } from '@tessera/shared/errors';
import type { PathStat } from '@tessera/shared/wire';
import type { ContainerFiles, Containers, PathOf } from '../../../controlapi/containers/index.js';
import { empty, type Route, route } from '../../route.js';
import { isTrue } from '../json-edge.js';
import { rfc3339Nano } from '../logs.js';

const STAT_HEADER = 'X-Docker-Container-Path-Stat';

/** `/containers/:id/archive` and `/containers/:id/export`: docker cp and docker export. */
export function fileRoutes(containers: Containers, files: ContainerFiles): Route[] {
  const pathOf = async (
    params: Readonly<Record<string, string>>,
    query: URLSearchParams,
  ): Promise<PathOf> => {
    const path = query.get('path') ?? '';
    if (path === '') throw invalid('bad parameter: path cannot be empty');
    return { container: await containers.inspect(params.id!), calledBy: params.id!, path };
  };
  return [
    route('HEAD', '/containers/:id/archive', async ({ params, query, signal }) => {
      const stat = await files.stat(await pathOf(params, query), signal);
      return { ...empty(), headers: { [STAT_HEADER]: statToDocker(stat) } };
    }),

    {
      kind: 'stream',
      method: 'GET',
      pattern: '/containers/:id/archive',
      handle: async ({ params, query, signal, connection }) => {
        const { stat, content } = await files.get(await pathOf(params, query), signal, connection);
        return {
          contentType: 'application/x-tar',
          headers: { [STAT_HEADER]: statToDocker(stat) },
          early: true,
          chunks: content,
        };
      },
    },

    {
      kind: 'upload',
      method: 'PUT',
      pattern: '/containers/:id/archive',
      lends: true,
      handle: async ({ params, query, content, signal }) => {
        const options = {
          noOverwriteDirNonDir: isTrue(query.get('noOverwriteDirNonDir')),
          copyUidGid: isTrue(query.get('copyUIDGID')),
        };
        await files.put(await pathOf(params, query), options, content, signal);
        return empty();
      },
    },

    {
      kind: 'stream',
      method: 'GET',
      pattern: '/containers/:id/export',
      handle: async ({ params, signal, connection }) => ({
        contentType: 'application/octet-stream',
        chunks: await files.export(await containers.inspect(params.id!), signal, connection),
      }),
    },
  ];
}

/** Source: moby api/server/router/container/copy.go, setContainerPathStatHeader. */
export function statToDocker(stat: PathStat): string {
  const { name, sizeBytes, mode, modifiedAtSeconds, modifiedAtNanos, linkTarget } = stat;
  const json = {
    name,
    size: sizeBytes,
    mode: goFileMode(mode),
    mtime: rfc3339Nano(modifiedAtSeconds, modifiedAtNanos).replace(/\.?0+Z$/, 'Z'),
    linkTarget,
  };
  return Buffer.from(JSON.stringify(json)).toString('base64');
}

/** Kinds of files: stat(2)'s bits, and those of Go's os.FileMode. */
const KINDS: ReadonlyMap<number, number> = new Map([
  [0o040000, 2 ** 31],
  [0o120000, 2 ** 27],
  [0o060000, 2 ** 26],
  [0o020000, 2 ** 26 + 2 ** 21],
  [0o010000, 2 ** 25],
  [0o140000, 2 ** 24],
]);

export function goFileMode(mode: number): number {
  const kind = KINDS.get(mode & 0o170000) ?? 0;
  const setuid = mode & 0o4000 ? 2 ** 23 : 0;
  const setgid = mode & 0o2000 ? 2 ** 22 : 0;
  const sticky = mode & 0o1000 ? 2 ** 20 : 0;
  return kind + setuid + setgid + sticky + (mode & 0o777);
}
