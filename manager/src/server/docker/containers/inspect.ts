import type { Health, Node } from '@tessera/shared/model';
import { isRunning, type KnownContainer } from '../../../controlapi/containers/index.js';
import { nodeName } from '../../../controlapi/index.js';
import type { View } from '../../../store/view.js';
import { healthcheckToDocker } from '../healthcheck-json.js';
import { omitEmpty, timeJson } from '../json-edge.js';
import { commandOf, type EffectiveConfig, effectiveConfig } from './effective-config.js';
import { hostConfigToDocker } from './host-config-to-docker.js';
import { mountPoints } from './mount-points.js';
import { networksToDocker, openPorts, portMap } from './networks-to-docker.js';
import { healthWord, stateWord } from './status.js';

const ID_LENGTH_SHORT = 12;

/** The body of `GET /containers/:id/json`. */
export function inspectToDocker(one: KnownContainer): object {
  const { view, container, state } = one;
  const config = effectiveConfig(view, container);
  const { path, args } = commandOf(config);
  return {
    Id: container.id,
    Created: timeJson(container.meta?.createdAtMs ?? 0),
    Path: path,
    Args: args,
    State: stateToDocker(one),
    Image: config.imageId,
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: '',
    ...nodeToDocker(one),
    Name: `/${container.name}`,
    RestartCount: state.restartCount,
    Driver: 'overlayfs',
    Platform: 'linux',
    MountLabel: state.mountLabel,
    ProcessLabel: state.processLabel,
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: hostConfigToDocker(view, container),
    GraphDriver: { Name: 'overlayfs', Data: null },
    Mounts: mountPoints(one),
    Config: configToDocker(one, config),
    NetworkSettings: networkSettings(one, config),
  };
}

function stateToDocker({ container, state }: KnownContainer): object {
  const word = stateWord(state, container.removing);
  const health = healthWord(state);
  return {
    Status: word,
    Running: isRunning(state),
    Paused: state.state === 'paused',
    Restarting: state.state === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: state.state === 'dead',
    Pid: isRunning(state) ? state.pid : 0,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: timeJson(state.startedAtMs),
    FinishedAt: timeJson(state.finishedAtMs),
    ...(state.health && health !== 'none' ? { Health: healthToDocker(state.health, health) } : {}),
  };
}

const healthToDocker = ({ failingStreak, log }: Health, status: string): object => ({
  Status: status,
  FailingStreak: failingStreak,
  Log: log.map((probe) => ({
    Start: timeJson(probe.startedAtMs),
    End: timeJson(probe.endedAtMs),
    ExitCode: probe.exitCode,
    Output: probe.output,
  })),
});

/** Where it runs, as the stand-alone Swarm showed it. Source: docker/swarm api/handlers.go, getContainerJSON. */
function nodeToDocker({ view, placement }: KnownContainer): object {
  const node = view.nodes.get(placement?.nodeId ?? '');
  return node ? { Node: nodeBlock(view, node) } : {};
}

function nodeBlock(view: View, node: Node): object {
  const status = view.nodeStatuses.get(node.id);
  const description = status?.description;
  return {
    ID: node.id,
    IP: status?.addr ?? '',
    Addr: description?.peerAddr ?? '',
    Name: nodeName(view, node),
    Cpus: Math.ceil((description?.capacity?.nanoCpus ?? 0) / 1e9),
    Memory: description?.capacity?.memoryBytes ?? 0,
    Labels: { ...description?.engineLabels, ...node.labels },
  };
}

/** What it runs with, in the shape of an image's `config` and more. */
export function configToDocker({ container }: KnownContainer, config: EffectiveConfig): object {
  const spec = container.spec!;
  const { healthcheck } = spec;
  return {
    Hostname: spec.hostname || container.id.slice(0, ID_LENGTH_SHORT),
    Domainname: container.host?.domainname ?? '',
    User: config.user,
    AttachStdin: container.attachStdin,
    AttachStdout: container.attachStdout,
    AttachStderr: container.attachStderr,
    ...(config.exposedPorts.length > 0
      ? { ExposedPorts: Object.fromEntries(config.exposedPorts.map((port) => [port, {}])) }
      : {}),
    Tty: spec.tty,
    OpenStdin: spec.openStdin,
    StdinOnce: container.stdinOnce,
    Env: config.env,
    Cmd: config.command.length > 0 ? config.command : null,
    ...(healthcheck ? { Healthcheck: omitEmpty(healthcheckToDocker(healthcheck)) } : {}),
    Image: config.image,
    Volumes: config.volumes.length > 0 ? Object.fromEntries(config.volumes.map((path) => [path, {}])) : null,
    WorkingDir: config.dir,
    Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
    OnBuild: null,
    Labels: config.labels,
    ...(config.stopSignal ? { StopSignal: config.stopSignal } : {}),
    ...(spec.stopGraceMs >= 0 ? { StopTimeout: Math.ceil(spec.stopGraceMs / 1_000) } : {}),
    ...(spec.shell.length > 0 ? { Shell: spec.shell } : {}),
  };
}

function networkSettings(one: KnownContainer, config: EffectiveConfig): object {
  const networks = networksToDocker(one);
  const bridge = networks.bridge;
  return {
    Bridge: '',
    SandboxID: '',
    SandboxKey: '',
    Ports: isRunning(one.state) ? portMap(openPorts(one), config.exposedPorts) : {},
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: bridge?.EndpointID ?? '',
    Gateway: bridge?.Gateway ?? '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    IPAddress: bridge?.IPAddress ?? '',
    IPPrefixLen: bridge?.IPPrefixLen ?? 0,
    IPv6Gateway: '',
    MacAddress: bridge?.MacAddress ?? '',
    Networks: networks,
  };
}
