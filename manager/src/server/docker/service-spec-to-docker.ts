import type {
  ContainerSpecJson,
  HealthcheckJson,
  PlatformJson,
  ResourcesJson,
  ServiceSpecJson,
  TaskSpecJson,
  UpdateConfigJson,
} from '@tessera/shared/docker-api';
import type { ContainerSpec, Resources, ServiceSpec, TaskSpec, UpdateConfig } from '@tessera/shared/model';
import { familiarName } from '../../controlapi/image-reference.js';
import { healthcheckToDocker } from './healthcheck-json.js';
import { nsFromMs, omitEmpty } from './json-edge.js';
import { mountToDocker } from './mount-json.js';

/** The spec as Docker shows it. What it gives, `serviceSpecFromDocker` reads back to the same spec. */
export function serviceSpecToDocker(spec: ServiceSpec): ServiceSpecJson {
  return {
    Name: spec.name,
    Labels: spec.labels,
    TaskTemplate: taskSpecToDocker(spec.task),
    Mode: spec.mode === 'global' ? { Global: {} } : { Replicated: { Replicas: spec.replicas } },
    ...(spec.update ? { UpdateConfig: updateToDocker(spec.update) } : {}),
    ...(spec.rollback ? { RollbackConfig: updateToDocker(spec.rollback) } : {}),
    EndpointSpec: { Mode: spec.endpoint?.mode ?? 'vip' },
  };
}

export function taskSpecToDocker(spec: TaskSpec | undefined): TaskSpecJson {
  const restart = spec?.restart;
  return {
    ...(spec?.container ? { ContainerSpec: containerToDocker(spec.container) } : {}),
    Resources: {
      Limits: resourcesToDocker(spec?.resources?.limits),
      Reservations: resourcesToDocker(spec?.resources?.reservations),
    },
    ...(restart
      ? {
          RestartPolicy: {
            Condition: restart.condition === 'on_failure' ? 'on-failure' : restart.condition,
            Delay: nsFromMs(restart.delayMs),
            MaxAttempts: restart.maxAttempts,
            ...(restart.windowMs > 0 ? { Window: nsFromMs(restart.windowMs) } : {}),
          },
        }
      : {}),
    Placement: omitEmpty<NonNullable<TaskSpecJson['Placement']>>({
      Constraints: spec?.placement?.constraints,
      Preferences: spec?.placement?.spreadOver.map((descriptor) => ({
        Spread: { SpreadDescriptor: descriptor },
      })),
      MaxReplicas: spec?.placement?.maxReplicasPerNode,
      Platforms: spec?.placement?.platforms.map(({ os, architecture }) =>
        omitEmpty<PlatformJson>({ Architecture: architecture, OS: os }),
      ),
    }),
    ...(spec?.networks.length
      ? {
          Networks: spec.networks.map(({ networkId, aliases }) => ({
            Target: networkId,
            ...(aliases.length > 0 ? { Aliases: aliases } : {}),
          })),
        }
      : {}),
    ...(spec?.logDriver
      ? { LogDriver: omitEmpty({ Name: spec.logDriver.name, Options: spec.logDriver.options }) }
      : {}),
    ForceUpdate: spec?.forceUpdate ?? 0,
  };
}

/** `busybox:latest@sha256:…`: the short name people know, pinned to what it was resolved to. */
export const imageToDocker = (spec: ContainerSpec): string =>
  familiarName(spec.image) + (spec.imageDigest ? `@${spec.imageDigest}` : '');

function containerToDocker(spec: ContainerSpec): ContainerSpecJson {
  const json = omitEmpty<Omit<ContainerSpecJson, 'StopGracePeriod'>>({
    Image: imageToDocker(spec),
    Labels: spec.labels,
    Command: spec.command,
    Args: spec.args,
    Hostname: spec.hostname,
    Env: spec.env,
    Dir: spec.dir,
    User: spec.user,
    Groups: spec.groups,
    Privileges: spec.noNewPrivileges ? { NoNewPrivileges: true } : undefined,
    TTY: spec.tty,
    OpenStdin: spec.openStdin,
    ReadOnly: spec.readOnly,
    Mounts: spec.mounts.map((mount) => mountToDocker(mount)),
    StopSignal: spec.stopSignal,
    Healthcheck: spec.healthcheck
      ? omitEmpty<HealthcheckJson>(healthcheckToDocker(spec.healthcheck))
      : undefined,
    Hosts: spec.hosts,
    DNSConfig: omitEmpty<NonNullable<ContainerSpecJson['DNSConfig']>>({
      Nameservers: spec.dnsServers,
      Search: spec.dnsSearch,
      Options: spec.dnsOptions,
    }),
    Init: spec.init,
    Sysctls: spec.sysctls,
    CapabilityAdd: spec.capAdd,
    CapabilityDrop: spec.capDrop,
    Ulimits: spec.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    OomScoreAdj: spec.oomScoreAdj,
  });
  // Zero is a choice here (kill at once) that must survive a client which reads and writes back.
  return spec.stopGraceMs < 0 ? json : { ...json, StopGracePeriod: nsFromMs(spec.stopGraceMs) };
}

const resourcesToDocker = (resources: Resources | undefined): ResourcesJson =>
  omitEmpty<ResourcesJson>({
    NanoCPUs: resources?.nanoCpus,
    MemoryBytes: resources?.memoryBytes,
    Pids: resources?.pids,
  });

const updateToDocker = (config: UpdateConfig): UpdateConfigJson => ({
  Parallelism: config.parallelism,
  Delay: nsFromMs(config.delayMs),
  FailureAction: config.failureAction === 'proceed' ? 'continue' : config.failureAction,
  Monitor: nsFromMs(config.monitorMs),
  MaxFailureRatio: config.maxFailureRatio,
  Order: config.order === 'start_first' ? 'start-first' : 'stop-first',
});
