import type { ImageSummaryJson } from '@tessera/shared/docker-api';
import { type Image, observedState } from '@tessera/shared/model';
import { familiarName, getImage, hasChildren, LayerUse } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { Filters } from './filters.js';
import { createdMs, descriptorOf, imageConfig, manifestToDocker, repoDigests } from './image-json.js';
import { isTrue } from './json-edge.js';
import { matchesPath } from './path-match.js';
import { timeOf } from './time-filter.js';

const FILTERS = ['reference', 'label', 'dangling', 'before', 'since', 'until'] as const;

/** From these API versions on. */
const SHARED_SIZE = 142;
const EMPTY_NAMES = 143;
const NO_VIRTUAL_SIZE = 144;
const MANIFESTS = 147;
const DESCRIPTOR = 148;

interface ListQuery {
  readonly query: URLSearchParams;
  readonly version: number;
}

/**
 * The body of `GET /images/json`, the newest first. Source: moby daemon/images/images.go.
 * @throws ClusterError `invalidArgument` for a bad filter, `notFound` for an image that one names
 */
export function listImages(view: View, { query, version }: ListQuery, nowMs: number): ImageSummaryJson[] {
  const filters = Filters.parse(query.get('filters'), FILTERS);
  const patterns = filters.get('reference');
  const selects = selector(view, filters, isTrue(query.get('all')), nowMs);
  const isAsked = (name: string, since: number) => version >= since && isTrue(query.get(name));
  const shared = isAsked('shared-size', SHARED_SIZE) ? new LayerUse([...view.images.all()]) : undefined;
  const withManifests = isAsked('manifests', MANIFESTS);
  const summaries = [...view.images.all()].filter(selects).flatMap((image): ImageSummaryJson[] => {
    const names = namesThatFit(image, patterns);
    const hasNames = names.RepoTags.length + names.RepoDigests.length > 0;
    if (patterns.length > 0 && !hasNames) return [];
    return [
      {
        ...summaryToDocker(view, image, shared),
        ...(hasNames || version >= EMPTY_NAMES ? names : NO_NAMES),
        ...(version < NO_VIRTUAL_SIZE ? { VirtualSize: image.sizeBytes } : {}),
        ...(version >= DESCRIPTOR ? { Descriptor: descriptorOf(image) } : {}),
        ...(withManifests ? { Manifests: [manifestToDocker(image, containersOf(view, image))] } : {}),
      },
    ];
  });
  return summaries.sort((a, b) => b.Created - a.Created || (a.Id < b.Id ? -1 : 1));
}

const NO_NAMES = { RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] };

/** @param shared without it, what the image has in common with others is not said */
export function summaryToDocker(view: View, image: Image, shared?: LayerUse): ImageSummaryJson {
  const running = [...view.tasks.all()].filter(
    (task) =>
      observedState(task, view.taskStatuses.get(task.id)) === 'running' &&
      view.specOf(task).container?.imageDigest === image.id,
  );
  return {
    Id: image.configDigest,
    ParentId: image.parentId,
    RepoTags: image.names.map(familiarName),
    RepoDigests: repoDigests(image),
    Created: Math.floor(createdMs(image) / 1000),
    Size: image.sizeBytes,
    SharedSize: shared?.sharedBytes(image) ?? -1,
    Labels: imageConfig(image).config?.Labels ?? null,
    Containers: running.length + containersOf(view, image).length,
  };
}

/** Containers that were made from it. */
export const containersOf = (view: View, image: Image): string[] =>
  [...view.containers.all()].filter(({ spec }) => spec?.imageDigest === image.id).map(({ id }) => id);

function selector(
  view: View,
  filters: Filters<(typeof FILTERS)[number]>,
  isAll: boolean,
  nowMs: number,
): (image: Image) => boolean {
  const timesOf = (key: 'before' | 'since') =>
    filters.get(key).map((reference) => createdMs(getImage(view, reference)));
  const before = timesOf('before');
  const since = timesOf('since');
  const until = filters.get('until').map((text) => timeOf(text, nowMs));
  const dangling = filters.flag('dangling');
  return (image) => {
    const atMs = createdMs(image);
    // What is only there as the base of another is of interest to nobody who has not asked for all.
    const isHidden = image.names.length === 0 && hasChildren(view, image);
    const isDangling = image.names.length === 0 && !isHidden;
    return (
      before.every((limitMs) => atMs < limitMs) &&
      since.every((limitMs) => atMs > limitMs) &&
      until.every((limitMs) => atMs <= limitMs) &&
      filters.labels('label', imageConfig(image).config?.Labels ?? {}) &&
      (dangling === undefined || dangling === isDangling) &&
      (isAll || !isHidden)
    );
  };
}

/** Of an image's names those that fit one of the patterns: with tag, or as a repository. */
function namesThatFit(image: Image, patterns: readonly string[]) {
  const fits = (text: string, separator: ':' | '@') =>
    patterns.length === 0 ||
    patterns.some(
      (pattern) =>
        matchesPath(pattern, text) || matchesPath(pattern, text.slice(0, text.lastIndexOf(separator))),
    );
  return {
    RepoTags: image.names.map(familiarName).filter((text) => fits(text, ':')),
    RepoDigests: repoDigests(image).filter((text) => fits(text, '@')),
  };
}
