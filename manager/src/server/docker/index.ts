import { ContainerCalls, ContainerFiles, Containers, ExecCalls } from '../../controlapi/containers/index.js';
import { EventLog } from '../../controlapi/events/index.js';
import {
  type ControlContext,
  Images,
  Networks,
  Nodes,
  RegistryImages,
  Services,
  Swarm,
  Tasks,
} from '../../controlapi/index.js';
import { Volumes } from '../../controlapi/volumes/index.js';
import type { Route } from '../route.js';
import { attachRoutes } from './containers/attach.js';
import { callRoutes } from './containers/calls.js';
import { commitRoutes } from './containers/commit.js';
import { containerRoutes } from './containers/containers.js';
import { execRoutes } from './containers/exec.js';
import { fileRoutes } from './containers/files.js';
import { containerLogRoutes } from './containers/logs.js';
import { diskUsageRoutes } from './disk-usage.js';
import { eventRoutes } from './events.js';
import { imageRoutes } from './images.js';
import { logRoutes } from './logs.js';
import { networkRoutes } from './networks.js';
import { nodeRoutes } from './nodes.js';
import { notYetRoutes } from './not-yet.js';
import { registryRoutes } from './registry.js';
import { serviceRoutes } from './services.js';
import { swarmRoutes } from './swarm.js';
import { systemRoutes } from './system.js';
import { taskRoutes } from './tasks.js';
import { volumeRoutes } from './volumes.js';

/** The Docker Engine API as far as it is served. */
export function dockerRoutes(context: ControlContext, dataDir: string): Route[] {
  const services = new Services(context);
  const tasks = new Tasks(context);
  const containers = new Containers(context);
  const calls = new ContainerCalls(context);
  const images = new Images(context);
  const volumes = new Volumes(context);
  const events = new EventLog(context.store, context.clock);
  return [
    ...systemRoutes(context, dataDir, events),
    ...serviceRoutes(services),
    ...taskRoutes(tasks),
    ...logRoutes(services, tasks, context),
    ...containerRoutes(containers, calls, context),
    ...containerLogRoutes(containers, context),
    ...attachRoutes(containers, calls, context),
    ...callRoutes(containers, calls),
    ...fileRoutes(containers, new ContainerFiles(calls)),
    ...commitRoutes(containers, calls, context),
    ...execRoutes(new ExecCalls(context, calls)),
    ...eventRoutes(events),
    ...nodeRoutes(new Nodes(context), context.leaderId),
    ...networkRoutes(new Networks(context)),
    ...volumeRoutes(volumes, context),
    ...imageRoutes(images, context),
    ...diskUsageRoutes({ containers, calls, images, volumes }, context),
    ...registryRoutes(new RegistryImages(context), context),
    ...swarmRoutes(new Swarm(context)),
    ...notYetRoutes(),
  ];
}
