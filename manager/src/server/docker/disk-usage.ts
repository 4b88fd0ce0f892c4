import { invalid } from '@tessera/shared/errors';
import { type ContainerCalls, type Containers, sizesOf } from '../../controlapi/containers/index.js';
import { type ControlContext, type Images, LayerUse } from '../../controlapi/index.js';
import { json, type Route, route } from '../route.js';
import { summaryToDocker } from './containers/list.js';
import { summaryToDocker as imageToDocker } from './image-list.js';

const TYPES = ['container', 'image', 'volume', 'build-cache'];

/** `/system/df`: an image counts once, however many nodes hold it, and a layer once, however many images have it. */
export function diskUsageRoutes(
  containers: Containers,
  calls: ContainerCalls,
  images: Images,
  { clock }: ControlContext,
): Route[] {
  return [
    route('GET', '/system/df', async ({ query, signal }) => {
      const asked = query.getAll('type');
      for (const type of asked)
        if (!TYPES.includes(type))
          throw invalid(`unknown object type: ${type}: there are ${TYPES.join(', ')}`);
      const wants = (type: string) => asked.length === 0 || asked.includes(type);
      const [containerList, imageList] = await Promise.all([
        wants('container') ? containers.list() : [],
        wants('image') ? images.list() : undefined,
      ]);
      const sizes = await sizesOf(calls, containerList, signal);
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
        Volumes: wants('volume') ? [] : null,
        BuildCache: wants('build-cache') ? [] : null,
      });
    }),
  ];
}
