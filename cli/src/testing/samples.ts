import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';

// Samples fill in what does not matter to a test.

const AT = '2026-11-21T11:59:55Z';
const head = (id: string, index = 7) => ({
  ID: id,
  Version: { Index: index },
  CreatedAt: AT,
  UpdatedAt: AT,
});

export const aNode = (number: number, part: Partial<NodeJson> = {}): NodeJson => ({
  ...head(`node${number}aaaaaaaaaaaaaaaaaaaa`),
  Spec: { Role: 'worker', Availability: 'active', Labels: {} },
  Description: {
    Hostname: `host${number}`,
    Platform: { Architecture: 'x86_64', OS: 'linux' },
    Resources: { NanoCPUs: 1e9, MemoryBytes: 2 ** 30 },
    Engine: { EngineVersion: '0.1.0' },
  },
  Status: { State: 'ready', Addr: `10.0.0.${number}` },
  ...part,
});

export const aService = (part: Partial<ServiceJson> = {}): ServiceJson => ({
  ...head('serviceaaaaaaaaaaaaaaaaaa'),
  Spec: {
    Name: 'web',
    Labels: {},
    TaskTemplate: {
      ContainerSpec: { Image: `busybox:latest@sha256:${'a'.repeat(64)}`, Env: ['A=1', 'B=2'] },
      Networks: [{ Target: 'net1id' }],
      ForceUpdate: 0,
    },
    Mode: { Replicated: { Replicas: 3 } },
    EndpointSpec: { Mode: 'vip' },
  },
  Endpoint: { Spec: { Mode: 'vip' } },
  ...part,
});

export const aTask = (slot: number, part: Partial<TaskJson> = {}): TaskJson => ({
  ...head(`task${slot}aaaaaaaaaaaaaaaaaaaaa`),
  Labels: {},
  Spec: { ContainerSpec: { Image: `busybox:latest@sha256:${'a'.repeat(64)}` } },
  ServiceID: 'serviceaaaaaaaaaaaaaaaaaa',
  Slot: slot,
  NodeID: aNode(((slot - 1) % 2) + 1).ID,
  DesiredState: 'running',
  Status: { State: 'running', Timestamp: AT, PortStatus: {} },
  ...part,
});
