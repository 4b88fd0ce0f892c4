import { infoDocument, pingHeaders, type SwarmInfo, versionDocument } from '@tessera/shared/docker-api';
import { openFileCount } from '@tessera/shared/env';
import { type NodeDescription, observedState } from '@tessera/shared/model';
import { isRunning } from '../../controlapi/containers/index.js';
import type { EventLog } from '../../controlapi/events/index.js';
import type { ControlContext } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { json, type Reply, type Route, route } from '../route.js';
import { nodeLines } from './node-lines.js';
import { swarmToDocker } from './swarm.js';

/** `/_ping`, `/version` and `/info`. */
export function systemRoutes(
  context: ControlContext,
  dataDir: string,
  events: Pick<EventLog, 'readerCount'>,
): Route[] {
  const ping = (): Reply => ({ status: 200, body: 'OK', headers: pingHeaders('active/manager') });
  return [
    route('GET', '/_ping', ping),
    route('HEAD', '/_ping', ping),

    route('GET', '/version', () => {
      const description = context.store.view().nodeStatuses.get(context.nodeId)?.description;
      return json(
        200,
        versionDocument({ kernel: description?.kernel ?? '', machine: description?.architecture ?? '' }),
      );
    }),

    route('GET', '/info', async () => {
      const view = await context.store.read();
      const status = view.nodeStatuses.get(context.nodeId);
      const description = status?.description;
      const { nanoCpus, memoryBytes } = capacityOf(view);
      return json(
        200,
        infoDocument(
          {
            kernel: description?.kernel ?? '',
            machine: description?.architecture ?? '',
            hostname: description?.hostname ?? view.nodes.get(context.nodeId)?.name ?? '',
            cpus: Math.ceil(nanoCpus / 1e9),
            memoryBytes,
            cgroupMode: description?.cgroupMode ?? '',
            dataDir,
            operatingSystem: description?.operatingSystem || 'Linux',
            insecureRegistries: description?.insecureRegistries ?? [],
            registryMirrors: description?.registryMirrors ?? [],
            selinux: isLabelled(view),
            nowMs: context.clock.now(),
          },
          swarmInfo(view, context),
          {
            ...countTasks(view, context.nodeId),
            openFiles: openFileCount(),
            eventReaders: events.readerCount,
          },
          nodeLines(view),
        ),
      );
    }),
  ];
}

/** Of the whole engine, which is every node that is there. */
function capacityOf(view: View): { readonly nanoCpus: number; readonly memoryBytes: number } {
  const sum = (of: 'nanoCpus' | 'memoryBytes') =>
    readyNodes(view).reduce((total, { capacity }) => total + (capacity?.[of] ?? 0), 0);
  return { nanoCpus: sum('nanoCpus'), memoryBytes: sum('memoryBytes') };
}

/** Only what holds wherever a container is placed may be said of the engine. */
function isLabelled(view: View): boolean {
  const ready = readyNodes(view);
  return ready.length > 0 && ready.every(({ selinux }) => selinux);
}

const readyNodes = (view: View): NodeDescription[] =>
  [...view.nodes.all()].flatMap(({ id }) => {
    const status = view.nodeStatuses.get(id);
    return status?.state === 'ready' && status.description ? [status.description] : [];
  });

function swarmInfo(view: View, { nodeId, managerAddr }: ControlContext): SwarmInfo {
  const status = view.nodeStatuses.get(nodeId);
  const managers = [...view.nodes.all()].filter(({ role }) => role === 'manager');
  const cluster = view.cluster ? swarmToDocker(view.cluster) : undefined;
  return {
    NodeID: nodeId,
    NodeAddr: status?.addr ?? '',
    LocalNodeState: 'active',
    ControlAvailable: true,
    Error: '',
    RemoteManagers: managers.map(({ id }) => ({
      NodeID: id,
      // Its own it knows, though its agent may not have registered yet: `cluster init` prints it.
      Addr: id === nodeId ? managerAddr : (view.nodeStatuses.get(id)?.managerAddr ?? ''),
    })),
    Nodes: view.nodes.size,
    Managers: managers.length,
    // Without the join tokens: `info` is read by more eyes than `swarm inspect`.
    ...(cluster ? { Cluster: { ...cluster, JoinTokens: undefined } } : {}),
  };
}

function countTasks(view: View, nodeId: string) {
  let containersRunning = 0;
  let containersPaused = 0;
  let containersStopped = 0;
  for (const task of view.tasks.byNode(nodeId)) {
    const status = view.taskStatuses.get(task.id);
    if (!status?.container) continue;
    if (observedState(task, status) === 'running') containersRunning++;
    else containersStopped++;
  }
  // Stand-alone containers are the cluster's, whichever node they are on.
  for (const { id } of view.containers.all()) {
    const state = view.containerStates.get(id);
    if (state?.state === 'paused') containersPaused++;
    else if (state && isRunning(state)) containersRunning++;
    else if (state) containersStopped++;
  }
  return { containersRunning, containersPaused, containersStopped, images: view.images.size };
}
