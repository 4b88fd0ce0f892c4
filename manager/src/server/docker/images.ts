import type { ImageDeleteJson, ImageSummaryJson, ProgressJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { type Image, observedState } from '@tessera/shared/model';
import { type ControlContext, familiarName, type Images, loadImages } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { empty, json, type Route, route, type StreamReply } from '../route.js';
import { Filters } from './filters.js';
import { imageConfig, inspectToDocker, repoDigests } from './image-json.js';
import { isTrue } from './json-edge.js';
import { lines } from './line-queue.js';

const FILTERS = ['reference', 'label', 'dangling'] as const;

/** `/images`, but for what concerns registries; Docker Engine API v1.24 and later. */
export function imageRoutes(images: Images, context: ControlContext): Route[] {
  return [
    route('GET', '/images/json', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const { view, images: all } = await images.list();
      const matching = all.filter((image) => matches(filters, image));
      return json(
        200,
        matching.map((image) => summaryToDocker(view, image)).sort((a, b) => b.Created - a.Created),
      );
    }),

    route('GET', '/images/:name/json', async ({ params, query }) => {
      refusePlatform(query);
      const { image } = await images.inspect(params.name!);
      return json(200, inspectToDocker(image));
    }),

    route('GET', '/images/:name/history', async ({ params }) => {
      const { image } = await images.inspect(params.name!);
      const history = [...(imageConfig(image).history ?? [])].reverse();
      return json(
        200,
        history.map((entry, index) => ({
          Id: index === 0 ? image.configDigest : '<missing>',
          Created: Math.floor(Date.parse(entry.created ?? '') / 1000) || 0,
          CreatedBy: entry.created_by ?? '',
          Tags: index === 0 ? image.names.map(familiarName) : null,
          Size: 0,
          Comment: entry.comment ?? '',
        })),
      );
    }),

    route('POST', '/images/:name/tag', async ({ params, query }) => {
      const repo = query.get('repo');
      if (!repo) throw invalid('repo: give the new name');
      const tag = query.get('tag');
      await images.tag(params.name!, tag ? `${repo}:${tag}` : repo);
      return empty(201);
    }),

    route('DELETE', '/images/:name', async ({ params, query }) => {
      refusePlatform(query);
      const removals = await images.remove(params.name!, isTrue(query.get('force')));
      return json(
        200,
        removals.map(
          (removal): ImageDeleteJson =>
            removal.kind === 'untagged' ? { Untagged: removal.name } : { Deleted: removal.id },
        ),
      );
    }),

    {
      kind: 'upload',
      method: 'POST',
      pattern: '/images/load',
      handle: async ({ query, content, signal }) => {
        if (query.get('platform')) throw invalid('platform: an archive is loaded whole; leave it out');
        const quiet = isTrue(query.get('quiet'));
        return progressReply((progress) =>
          loadImages(
            context,
            content,
            (line) => {
              // Quiet means no progress; what was loaded, and what is wrong, is the result.
              if (!quiet || /^(Loaded|Warning)/.test(line)) progress(line);
            },
            signal,
          ),
        );
      },
    },
  ];
}

/** A name means one manifest here. */
function refusePlatform(query: URLSearchParams): void {
  for (const name of ['platform', 'platforms', 'manifests']) {
    if (query.get(name)) throw invalid(`${name}: an image here is of one platform; leave it out`);
  }
}

/** Lines as dockerd streams them: one JSON object each, an error as the last of them. */
async function progressReply(
  work: (progress: (line: string) => void) => Promise<unknown>,
): Promise<StreamReply> {
  const encode = (object: ProgressJson) => `${JSON.stringify(object)}\r\n`;
  const source = lines(work);
  const chunks = async function* () {
    for await (const line of source) yield encode({ stream: `${line}\n` });
  };
  return {
    contentType: 'application/json',
    chunks: chunks(),
    onError: (message) => encode({ error: message, errorDetail: { message } }),
  };
}

function matches(filters: Filters<(typeof FILTERS)[number]>, image: Image): boolean {
  const names = image.names.map(familiarName);
  return (
    filters.any('reference', (value) => names.some((name) => matchesReference(name, value))) &&
    filters.labels('label', imageConfig(image).config?.Labels ?? {}) &&
    filters.any('dangling', (value) => (value === 'true' || value === '1') === (names.length === 0))
  );
}

/** `busybox`, `busybox:latest`, `busy*`: the repository, the whole name, or a pattern for either. */
function matchesReference(name: string, pattern: string): boolean {
  const repository = name.slice(0, name.lastIndexOf(':'));
  const expression = new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]')}$`,
  );
  return expression.test(name) || expression.test(repository);
}

export function summaryToDocker(view: View, image: Image): ImageSummaryJson {
  const names = image.names.map(familiarName);
  const running = [...view.tasks.all()].filter(
    (task) =>
      observedState(task, view.taskStatuses.get(task.id)) === 'running' &&
      view.specOf(task).container?.imageDigest === image.id,
  );
  const containers = [...view.containers.all()].filter(({ spec }) => spec?.imageDigest === image.id);
  return {
    Id: image.configDigest,
    ParentId: '',
    RepoTags: names,
    RepoDigests: repoDigests(image),
    Created: Math.floor(Date.parse(imageConfig(image).created ?? '') / 1000) || 0,
    Size: image.sizeBytes,
    SharedSize: -1,
    Labels: imageConfig(image).config?.Labels ?? {},
    Containers: running.length + containers.length,
  };
}
