import { invalid } from '@tessera/shared/errors';
import {
  type ContainerSpec,
  Placement,
  ServiceSpec,
  type TaskSpec,
  type UpdateConfig,
} from '@tessera/shared/model';
import { parseReference } from '../../controlapi/image-reference.js';
import { healthcheckFromDocker } from './healthcheck-json.js';
import { msFromNs, parseBody, sortedMap } from './json-edge.js';
import { mountFromDocker } from './mount-json.js';
import {
  type ServiceSpecBody,
  serviceSpec,
  type TaskTemplateBody,
  type UpdateConfigBody,
} from './service-spec-schema.js';

type ContainerBody = NonNullable<TaskTemplateBody['ContainerSpec']>;

/** Swarm's default, which clients expect when they give a policy without a delay, or none. */
const RESTART_DELAY_DEFAULT_MS = 5_000;
/** Swarm's default for how long a new task is watched during an update. */
const MONITOR_DEFAULT_MS = 5_000;

/**
 * A service's spec from the body of `POST /services/create` and `/services/:id/update`. Networks and image are as the
 * user named them.
 * @throws ClusterError `invalidArgument` for whatever is not valid, or not honoured
 */
export function serviceSpecFromDocker(body: unknown): ServiceSpec {
  const json = parseBody('service spec', serviceSpec, body);
  const networks = json.TaskTemplate?.Networks?.length ? json.TaskTemplate.Networks : json.Networks;

  return ServiceSpec.fromPartial({
    name: json.Name ?? '',
    labels: sortedMap(json.Labels),
    task: taskFromDocker({ ...(json.TaskTemplate ?? {}), Networks: networks ?? [] }),
    mode: json.Mode?.Global ? 'global' : 'replicated',
    replicas: json.Mode?.Global ? 0 : (json.Mode?.Replicated?.Replicas ?? 1),
    ...(json.UpdateConfig ? { update: updateFromDocker(json.UpdateConfig) } : {}),
    ...(json.RollbackConfig ? { rollback: updateFromDocker(json.RollbackConfig) } : {}),
    endpoint: { mode: endpointMode(json) },
  });
}

const endpointMode = (json: ServiceSpecBody): 'vip' | 'dnsrr' => json.EndpointSpec?.Mode || 'vip';

function taskFromDocker(json: TaskTemplateBody): TaskSpec {
  const container = json.ContainerSpec;
  if (!container?.Image)
    throw invalid('invalid service spec: TaskTemplate.ContainerSpec.Image: name an image');
  const policy = json.RestartPolicy;
  const limits = json.Resources?.Limits;
  const reservations = json.Resources?.Reservations;

  return {
    container: containerFromDocker(container, container.Image),
    resources: { limits: resources(limits), reservations: resources(reservations) },
    restart: {
      condition: policy?.Condition === 'on-failure' ? 'on_failure' : policy?.Condition || 'any',
      delayMs:
        policy?.Delay === undefined || policy.Delay === null
          ? RESTART_DELAY_DEFAULT_MS
          : msFromNs(policy.Delay),
      maxAttempts: policy?.MaxAttempts ?? 0,
      windowMs: msFromNs(policy?.Window ?? 0),
    },
    placement: Placement.fromPartial({
      constraints: json.Placement?.Constraints ?? [],
      spreadOver: (json.Placement?.Preferences ?? []).map(({ Spread }) => Spread.SpreadDescriptor),
      maxReplicasPerNode: json.Placement?.MaxReplicas ?? 0,
      platforms: (json.Placement?.Platforms ?? []).map(({ OS, Architecture }) => ({
        os: OS ?? '',
        architecture: Architecture ?? '',
      })),
    }),
    networks: (json.Networks ?? []).map(({ Target, Aliases }) => ({
      networkId: Target,
      aliases: Aliases ?? [],
    })),
    logDriver: json.LogDriver
      ? { name: json.LogDriver.Name ?? '', options: sortedMap(json.LogDriver.Options) }
      : undefined,
    forceUpdate: json.ForceUpdate ?? 0,
  };
}

const resources = (
  json:
    | {
        NanoCPUs?: number | null | undefined;
        MemoryBytes?: number | null | undefined;
        Pids?: number | null | undefined;
      }
    | null
    | undefined,
) => ({ nanoCpus: json?.NanoCPUs ?? 0, memoryBytes: json?.MemoryBytes ?? 0, pids: json?.Pids ?? 0 });

function containerFromDocker(json: ContainerBody, image: string): ContainerSpec {
  const { repository, tag, digest } = parseReference(image);
  return {
    image: tag || !digest ? `${repository}:${tag || 'latest'}` : repository,
    imageDigest: digest,
    command: json.Command ?? [],
    args: json.Args ?? [],
    env: json.Env ?? [],
    dir: json.Dir ?? '',
    user: json.User ?? '',
    groups: json.Groups ?? [],
    hostname: json.Hostname ?? '',
    labels: sortedMap(json.Labels),
    tty: false,
    openStdin: false,
    readOnly: json.ReadOnly ?? false,
    stopSignal: json.StopSignal ?? '',
    stopGraceMs:
      json.StopGracePeriod === undefined || json.StopGracePeriod === null
        ? -1
        : msFromNs(json.StopGracePeriod),
    mounts: (json.Mounts ?? []).map((mount) => mountFromDocker(mount)),
    hosts: json.Hosts ?? [],
    dnsServers: json.DNSConfig?.Nameservers ?? [],
    dnsSearch: json.DNSConfig?.Search ?? [],
    dnsOptions: json.DNSConfig?.Options ?? [],
    sysctls: sortedMap(json.Sysctls),
    ulimits: (json.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard })),
    capAdd: json.CapabilityAdd ?? [],
    capDrop: json.CapabilityDrop ?? [],
    healthcheck: json.Healthcheck ? healthcheckFromDocker(json.Healthcheck) : undefined,
    shell: [],
    init: false,
    noNewPrivileges: json.Privileges?.NoNewPrivileges ?? false,
    privileged: false,
    oomScoreAdj: json.OomScoreAdj ?? 0,
  };
}

function updateFromDocker(json: UpdateConfigBody): UpdateConfig {
  return {
    parallelism: json.Parallelism ?? 0,
    delayMs: msFromNs(json.Delay ?? 0),
    failureAction: json.FailureAction === 'continue' ? 'proceed' : json.FailureAction || 'pause',
    monitorMs: json.Monitor ? msFromNs(json.Monitor) : MONITOR_DEFAULT_MS,
    maxFailureRatio: json.MaxFailureRatio ?? 0,
    order: json.Order === 'start-first' ? 'start_first' : 'stop_first',
  };
}
