import {
  Container,
  ContainerPlacement,
  ContainerState,
  Meta,
  Node,
  NodeDescription,
  NodeStatus,
  Resources,
  Service,
  type ServiceSpec,
  Task,
  TaskSpec,
  TaskStatus,
} from '../model/index.js';

// Builders fill in what does not matter to a test, so that what matters stands out.

export const aTask = (part: Partial<Task> = {}): Task =>
  Task.fromPartial({
    id: 'task-1',
    meta: Meta.create(),
    serviceId: 'service-1',
    serviceName: 'web',
    slot: 1,
    spec: aTaskSpec(),
    specVersion: 1,
    state: 'new',
    desiredState: 'running',
    epoch: { incarnation: 1, number: 1 },
    ...part,
  } as Task);

export const aTaskStatus = (part: Partial<TaskStatus> = {}): TaskStatus =>
  TaskStatus.fromPartial({ taskId: 'task-1', state: 'running', ...part } as TaskStatus);

export const aTaskSpec = (part: Partial<TaskSpec> = {}): TaskSpec =>
  TaskSpec.fromPartial({
    container: { image: 'docker.io/library/busybox:latest', args: ['sleep', '1d'], stopGraceMs: 10_000 },
    restart: { condition: 'any', delayMs: 5_000 },
    ...part,
  } as TaskSpec);

export const aService = (part: Partial<Service> = {}, spec: Partial<ServiceSpec> = {}): Service =>
  Service.fromPartial({
    id: 'service-1',
    meta: Meta.create({ index: 1 }),
    spec: { name: 'web', mode: 'replicated', replicas: 1, task: aTaskSpec(), ...spec } as ServiceSpec,
    specVersion: 1,
    ...part,
  } as Service);

export const aNode = (part: Partial<Node> = {}): Node =>
  Node.fromPartial({ id: 'node-1', meta: Meta.create(), name: 'host1', ...part } as Node);

export const aNodeStatus = (part: Partial<NodeStatus> = {}): NodeStatus =>
  NodeStatus.fromPartial({
    nodeId: 'node-1',
    state: 'ready',
    addr: '10.0.0.1',
    description: NodeDescription.fromPartial({
      hostname: 'host1',
      os: 'linux',
      architecture: 'x86_64',
      dataPathAddr: '10.0.0.1',
      capacity: Resources.create({ nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30, pids: 10_000 }),
    }),
    ...part,
  } as NodeStatus);

export const aContainer = (part: Partial<Container> = {}): Container =>
  Container.fromPartial({
    id: 'c'.repeat(64),
    meta: Meta.create(),
    name: 'shop',
    spec: { image: 'docker.io/library/busybox:latest', args: ['sleep', '1d'], stopGraceMs: -1 },
    host: { networkMode: 'default' },
    target: { verb: 'create', generation: 1 },
    ...part,
  } as Container);

export const aContainerPlacement = (part: Partial<ContainerPlacement> = {}): ContainerPlacement =>
  ContainerPlacement.fromPartial({
    containerId: 'c'.repeat(64),
    nodeId: 'node-1',
    placedAtMs: 1,
    epoch: 1,
    ...part,
  } as ContainerPlacement);

export const aContainerState = (part: Partial<ContainerState> = {}): ContainerState =>
  ContainerState.fromPartial({
    containerId: 'c'.repeat(64),
    nodeId: 'node-1',
    state: 'created',
    generation: 1,
    sequence: 1,
    epoch: 1,
    ...part,
  } as ContainerState);
