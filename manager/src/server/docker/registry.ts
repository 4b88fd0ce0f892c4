import type { ProgressJson } from '@tessera/shared/docker-api';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { z } from 'zod';
import {
  type ControlContext,
  type ImageImport,
  importImage,
  type ProgressReport,
  parseReference,
  type RegistryImages,
} from '../../controlapi/index.js';
import { type ApiRequest, json, type Route, route, type StreamReply } from '../route.js';
import { lines } from './line-queue.js';

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const authSchema = z.object({
  username: text,
  password: text,
  auth: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
});

/** What clients call docker.io when they log in. Source: moby registry/config.go, IndexServer. */
const DOCKER_HUB_INDEXES = ['index.docker.io', 'registry-1.docker.io', ''];

/** Pull, import, push, save, `/distribution` and `/auth`, Docker Engine API v1.24 and later. */
export function registryRoutes(registry: RegistryImages, context: ControlContext): Route[] {
  return [
    {
      // Pulls, or makes an image of the body.
      kind: 'upload',
      method: 'POST',
      pattern: '/images/create',
      handle: async ({ query, headers, content, signal }) => {
        if (!query.get('fromImage')) {
          const wanted = importOf(query);
          return progressReply(async (report) => {
            const warn = (line: string) => report({ status: line });
            const image = await importImage(context, wanted, content, warn, signal);
            report({ status: image.configDigest });
          });
        }
        const { reference, isWhole } = pulledReference(query);
        const wanted = { reference, registryAuth: authOf(headers), platform: query.get('platform') ?? '' };
        return progressReply((report) =>
          isWhole ? registry.pullAll(wanted, report, signal) : registry.pull(wanted, report, signal),
        );
      },
    },

    {
      kind: 'stream',
      method: 'POST',
      pattern: '/images/:name/push',
      handle: async ({ params, query, headers, signal }) => {
        if (query.get('platform')) throw invalid('platform: an image here is of one platform; leave it out');
        const tag = query.get('tag') ?? '';
        return progressReply((report) => registry.push(params.name!, tag, authOf(headers), report, signal));
      },
    },

    // Which manifest a name means now: clients pin a service's image to it before they create it.
    route('GET', '/distribution/:name/json', async ({ params, headers, signal }) =>
      json(
        200,
        await registry.distribution({ reference: params.name!, registryAuth: authOf(headers) }, signal),
      ),
    ),

    route('POST', '/auth', async ({ body, signal }) => {
      const parsed = authSchema.safeParse(body ?? {});
      if (!parsed.success) throw invalid(`${parsed.error.issues[0]?.path.join('.')}: must be a text`);
      const { serveraddress, ...auth } = parsed.data;
      const header = Buffer.from(JSON.stringify(auth)).toString('base64url');
      const IdentityToken = await registry
        .login(registryHost(serveraddress), header, signal)
        .catch(refuseAbsence);
      return json(200, { Status: 'Login Succeeded', IdentityToken });
    }),

    {
      kind: 'stream',
      method: 'GET',
      pattern: '/images/get',
      handle: ({ query, signal }) => saveReply(registry, query, query.getAll('names'), signal),
    },
    {
      kind: 'stream',
      method: 'GET',
      pattern: '/images/:name/get',
      handle: ({ params, query, signal }) => saveReply(registry, query, [params.name!], signal),
    },
  ];
}

/** `X-Registry-Auth`, as it came: what is in it concerns the registry. */
export const authOf = (headers: ApiRequest['headers']): string => String(headers['x-registry-auth'] ?? '');

/** A name without a tag is the whole repository: `docker pull -a`. */
function pulledReference(query: URLSearchParams): { readonly reference: string; readonly isWhole: boolean } {
  const from = query.get('fromImage') ?? '';
  const tag = query.get('tag') ?? '';
  const { repository, tag: inName, digest } = parseReference(from);
  if (tag === '') return { reference: from, isWhole: !inName && !digest };
  // As dockerd: a tag beside the name replaces the one in it; a digest may stand in its place.
  const reference = tag.startsWith('sha256:') ? `${repository}@${tag}` : `${repository}:${tag}`;
  return { reference, isWhole: false };
}

function importOf(query: URLSearchParams): ImageImport {
  const source = query.get('fromSrc') ?? '';
  if (source === '') throw invalid('fromImage: name the image to pull, or give fromSrc=- and send its files');
  if (source !== '-') {
    throw new ClusterError(
      'unimplemented',
      `fromSrc: a manager fetches nothing from '${source}'; fetch it yourself and send it: curl -L URL | docker import -`,
    );
  }
  const repository = query.get('repo') ?? '';
  const tag = query.get('tag') ?? '';
  return {
    name: repository && tag ? `${repository}:${tag}` : repository,
    changes: query.getAll('changes'),
    message: query.get('message') || `Imported from ${source}`,
    platform: query.get('platform') ?? '',
  };
}

function registryHost(address: string): string {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return DOCKER_HUB_INDEXES.includes(host) ? 'docker.io' : host;
}

async function saveReply(
  registry: RegistryImages,
  query: URLSearchParams,
  names: readonly string[],
  signal: AbortSignal,
): Promise<StreamReply> {
  if (query.get('platform')) throw invalid('platform: an image here is of one platform; leave it out');
  return {
    contentType: 'application/x-tar',
    chunks: await registry.save(names, signal),
    // An archive has no place for an error: the connection breaks, so that nobody takes it for whole.
    onError: (message) => {
      throw new ClusterError('unavailable', message);
    },
  };
}

/** Objects as dockerd streams them, one on each line, an error as the last of them. */
async function progressReply(work: (report: ProgressReport) => Promise<unknown>): Promise<StreamReply> {
  const encode = (object: ProgressJson) => `${JSON.stringify(object)}\r\n`;
  return {
    contentType: 'application/json',
    chunks: lines((line) => work((message) => line(encode(message))).catch(refuse)),
    onError: (message) => encode({ errorDetail: { message }, error: message }),
  };
}

/** Credentials that are refused are told as such here: 401 is what was asked. */
function refuseAbsence(error: unknown): never {
  if (error instanceof ClusterError && error.kind === 'unavailable')
    throw new ClusterError('internal', error.message);
  throw error;
}

/**
 * A registry's refusal or absence is not ours, and 500 as with dockerd: on 401 a client would ask its user for a
 * password to us, on 503 look for another manager.
 */
function refuse(error: unknown): never {
  if (error instanceof ClusterError && (error.kind === 'unauthenticated' || error.kind === 'unavailable'))
    throw new ClusterError('internal', error.message);
  throw error;
}
