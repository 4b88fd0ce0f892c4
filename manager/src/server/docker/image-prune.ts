import { invalid } from '@tessera/shared/errors';
import { hasChildren, type Images } from '../../controlapi/index.js';
import { json, type Reply } from '../route.js';
import { Filters } from './filters.js';
import { createdMs, imageConfig, removalsToDocker } from './image-json.js';
import { timeOf } from './time-filter.js';

const FILTERS = ['dangling', 'label', 'label!', 'until'] as const;

/** `POST /images/prune`: by itself it takes what has no name; `dangling=false` all that nothing uses. */
export async function pruneImages(images: Images, query: URLSearchParams, nowMs: number): Promise<Reply> {
  const filters = Filters.parse(query.get('filters'), FILTERS);
  const isDanglingOnly = filters.flag('dangling') ?? true;
  const until = filters.get('until');
  if (until.length > 1) throw invalid('more than one until filter specified');
  const untilMs = until.map((text) => timeOf(text, nowMs));
  const removals = await images.prune((image, view) => {
    const labels = imageConfig(image).config?.Labels ?? {};
    const isNamed = image.names.length > 0;
    return (
      (isNamed ? !isDanglingOnly : !hasChildren(view, image)) &&
      untilMs.every((limitMs) => createdMs(image) <= limitMs) &&
      filters.labels('label', labels) &&
      (!filters.has('label!') || !filters.labels('label!', labels))
    );
  });
  return json(200, {
    ImagesDeleted: removals.length > 0 ? removalsToDocker(removals) : null,
    SpaceReclaimed: removals.reduce(
      (sum, removal) => sum + (removal.kind === 'deleted' ? removal.sizeBytes : 0),
      0,
    ),
  });
}
