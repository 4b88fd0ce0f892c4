import { invalid } from '@tessera/shared/errors';
import { type ContainerCalls, type Containers, sizesOf } from '../../controlapi/containers/index.js';
import { type ControlContext, type Images, LayerUse } from '../../controlapi/index.js';
import { usagesOf, type Volumes } from '../../controlapi/volumes/index.js';
import { json, type Route, route } from '../route.js';
import { summaryToDocker } from './containers/list.js';
import { summaryToDocker as imageToDocker } from './image-list.js';
import { volumeToDocker } from './volumes.js';

const TYPES = ['container', 'image', 'volume', 'build-cache'];

/** What takes room on disks. */
export interface DiskUsers {
  readonly containers: Containers;
  readonly calls: ContainerCalls;
  readonly images: Images;
  readonly volumes: Volumes;
}

/** `/system/df`: an image counts once, however many nodes hold it, and a layer once, however many images have it. */
export function diskUsageRoutes(
  { containers, calls, images, volumes }: DiskUsers,
  { clock, streams }: ControlContext,
): Route[] {
  return [
    // Nothing is built, so nothing of it takes room: `docker system prune` asks for this as well.
    route('POST', '/build/prune', () => json(200, { CachesDeleted: null, SpaceReclaimed: 0 })),

    route('GET', '/system/df', async ({ query, signal }) => {
      const asked = query.getAll('type');
      for (const type of asked)
        if (!TYPES.includes(type))
          throw invalid(`unknown object type: ${type}: there are ${TYPES.join(', ')}`);
      const wants = (type: string) => asked.length === 0 || asked.includes(type);
      const [containerList, imageList, volumeList] = await Promise.all([
        wants('container') ? containers.list() : [],
        wants('image') ? images.list() : undefined,
        wants('volume') ? volumes.list() : undefined,
      ]);
      const [sizes, usages] = await Promise.all([
        sizesOf(calls, containerList, signal),
        usagesOf(streams, volumeList ?? [], signal),
      ]);
      const nowMs = clock.now();
      const layers = new LayerUse(imageList?.images ?? []);
      return json(200, {
        LayersSize: layers.totalBytes,
        Images: imageList
          ? imageList.images.map((image) => imageToDocker(imageList.view, image, layers))
          : null,
        Containers: wants('container')
          ? containerList.map((one) => summaryToDocker(one, nowMs, sizes.get(one.container.id)))
          : null,
        Volumes: volumeList?.map((one) => volumeToDocker(one, usages.get(one.label))) ?? null,
        BuildCache: wants('build-cache') ? [] : null,
      });
    }),
  ];
}
