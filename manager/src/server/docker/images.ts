import type { ProgressJson } from '@tessera/shared/docker-api';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { type ControlContext, type Images, loadImages } from '../../controlapi/index.js';
import { empty, json, type Route, route, type StreamReply } from '../route.js';
import { historyToDocker, inspectToDocker, manifestToDocker, removalsToDocker } from './image-json.js';
import { containersOf, listImages } from './image-list.js';
import { requirePlatform } from './image-platform.js';
import { pruneImages } from './image-prune.js';
import { isTrue } from './json-edge.js';
import { lines } from './line-queue.js';

/** Since this API version. */
const MANIFESTS_OF_INSPECT = 148;

/** `/images`, but for what concerns registries; Docker Engine API v1.24 and later. */
export function imageRoutes(images: Images, context: ControlContext): Route[] {
  return [
    route('GET', '/images/json', async (request) => {
      const { view } = await images.list();
      return json(200, listImages(view, request, context.clock.now()));
    }),

    route('GET', '/images/search', () => {
      throw new ClusterError(
        'unimplemented',
        'searching is a service of Docker Hub alone: look for images on its pages, and name them with their registry',
      );
    }),

    route('GET', '/images/:name/json', async ({ params, query, version }) => {
      const { view, image } = await images.inspect(params.name!);
      const withManifests = version >= MANIFESTS_OF_INSPECT && isTrue(query.get('manifests'));
      if (withManifests && query.get('platform'))
        throw invalid('conflicting options: manifests and platform options cannot both be set');
      requirePlatform(image, params.name!, query);
      const shown = inspectToDocker(image, version);
      const manifests = () => ({ Manifests: [manifestToDocker(image, containersOf(view, image))] });
      return json(200, withManifests ? { ...shown, ...manifests() } : shown);
    }),

    route('GET', '/images/:name/history', async ({ params, query }) => {
      const { image } = await images.inspect(params.name!);
      requirePlatform(image, params.name!, query);
      return json(200, historyToDocker(image));
    }),

    route('POST', '/images/prune', ({ query }) => pruneImages(images, query, context.clock.now())),

    route('POST', '/images/:name/tag', async ({ params, query }) => {
      const repo = query.get('repo');
      if (!repo) throw invalid('repo: give the new name');
      const tag = query.get('tag');
      await images.tag(params.name!, tag ? `${repo}:${tag}` : repo);
      return empty(201);
    }),

    route('DELETE', '/images/:name', async ({ params, query }) => {
      if (query.has('platforms')) {
        const { image } = await images.inspect(params.name!);
        requirePlatform(image, params.name!, query);
      }
      const options = { force: isTrue(query.get('force')), prune: !isTrue(query.get('noprune')) };
      return json(200, removalsToDocker(await images.remove(params.name!, options)));
    }),

    {
      kind: 'upload',
      method: 'POST',
      pattern: '/images/load',
      lends: true,
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
