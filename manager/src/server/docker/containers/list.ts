import { invalid } from '@tessera/shared/errors';
import { RE2JS } from 're2js';
import {
  type ContainerSize,
  getContainer,
  isRunning,
  type KnownContainer,
} from '../../../controlapi/containers/index.js';
import { findImage, nodeName } from '../../../controlapi/index.js';
import type { View } from '../../../store/view.js';
import { Filters } from '../filters.js';
import { commandOf, effectiveConfig } from './effective-config.js';
import { networkModeText } from './host-config-to-docker.js';
import { mountPoints } from './mount-points.js';
import { networksToDocker, openPorts } from './networks-to-docker.js';
import { healthWord, stateWord, statusText } from './status.js';

const FILTERS = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'is-task',
  // Of Windows; on Linux dockerd takes it and leaves nothing out for it.
  'isolation',
  'label',
  'name',
  'network',
  'node',
  'publish',
  'since',
  'status',
  'volume',
] as const;
type ListFilters = Filters<(typeof FILTERS)[number]>;

const STATES = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'];
const HEALTHS = ['none', 'starting', 'healthy', 'unhealthy'];

/** What `GET /containers/json` asks for. */
export interface ListQuery {
  readonly all: boolean;
  readonly size: boolean;
  /** 0: no bound. */
  readonly limit: number;
  readonly filters: ListFilters;
}

/** @throws ClusterError `invalidArgument` in Docker's words */
export function parseListQuery(query: URLSearchParams, isTrue: (value: string | null) => boolean): ListQuery {
  const limit = Number(query.get('limit') || 0);
  if (!Number.isSafeInteger(limit)) throw invalid(`limit: '${query.get('limit')}' is no number`);
  const filters = Filters.parse(query.get('filters'), FILTERS);
  for (const status of filters.get('status'))
    if (!STATES.includes(status))
      throw invalid(`invalid filter 'status=${status}': give ${STATES.join(', ')}`);
  for (const health of filters.get('health'))
    if (!HEALTHS.includes(health))
      throw invalid(`invalid filter 'health=${health}': give ${HEALTHS.join(', ')}`);
  for (const code of filters.get('exited'))
    if (!/^-?\d+$/.test(code)) throw invalid(`invalid filter 'exited=${code}': write a number`);
  for (const word of filters.get('is-task'))
    if (!['true', 'false', '1', '0'].includes(word)) throw invalid(`invalid filter 'is-task=${word}'`);
  for (const key of ['publish', 'expose'] as const) for (const port of filters.get(key)) portRange(port);
  // A state that was asked for is shown whatever it is.
  const all = isTrue(query.get('all')) || filters.has('status');
  return { all, size: isTrue(query.get('size')), limit: Math.max(0, limit), filters };
}

/** Those asked for, newest first. @param all newest first */
export function selectContainers(
  all: readonly KnownContainer[],
  query: ListQuery,
): readonly KnownContainer[] {
  const { filters, limit } = query;
  const view = all[0]?.view;
  if (!view) return [];
  const hidesStopped = !query.all && limit === 0 && !filters.has('before') && !filters.has('since');
  const created = (reference: string) => positionOf(all, getContainer(view, reference).id);
  const before = filters.get('before').map(created);
  const since = filters.get('since').map(created);
  const images = filters.get('ancestor').flatMap((name) => imageIdOf(view, name) ?? []);
  const found = all.filter((one, position) => {
    if (hidesStopped && !isRunning(one.state)) return false;
    // Newest first: what came before has a later position.
    if (!before.every((other) => position > other) || !since.every((other) => position < other)) return false;
    if (filters.has('ancestor') && !images.includes(one.container.spec?.imageDigest ?? '')) return false;
    return matches(filters, one);
  });
  return limit > 0 ? found.slice(0, limit) : found;
}

const positionOf = (all: readonly KnownContainer[], id: string): number =>
  all.findIndex(({ container }) => container.id === id);

function imageIdOf(view: View, name: string): string | undefined {
  try {
    return findImage(view, name)?.id;
  } catch {
    return undefined;
  }
}

function matches(filters: ListFilters, one: KnownContainer): boolean {
  const { view, container, placement, state } = one;
  const word = stateWord(state, container.removing);
  return (
    filters.prefix('id', container.id) &&
    filters.any('name', (value) => matchesName(container.name, value)) &&
    (!filters.has('label') || filters.labels('label', effectiveConfig(view, container).labels)) &&
    filters.exactly('status', word) &&
    filters.any('exited', (code) => state.exitCode === Number(code) && word === 'exited') &&
    filters.exactly('health', healthWord(state)) &&
    filters.any('network', (value) => isOnNetwork(one, value)) &&
    filters.any('node', (value) => isOnNode(view, placement?.nodeId ?? '', value)) &&
    filters.any('volume', (value) => usesVolume(one, value)) &&
    filters.any('publish', (value) => publishes(one, value)) &&
    filters.any('expose', (value) => exposes(one, value)) &&
    filters.any('is-task', (value) => value === 'false' || value === '0')
  );
}

/** As dockerd: a pattern of Go's, with or without the slash that names begin with; in linear time whatever it is. */
function matchesName(name: string, pattern: string): boolean {
  if (name.includes(pattern.replace(/^\//, ''))) return true;
  try {
    const expression = RE2JS.compile(pattern);
    return expression.matcher(name).find() || expression.matcher(`/${name}`).find();
  } catch {
    throw invalid(`invalid filter 'name=${pattern}': it is no regular expression`);
  }
}

function isOnNetwork(one: KnownContainer, value: string): boolean {
  return Object.entries(networksToDocker(one)).some(
    ([name, { NetworkID }]) => name === value || NetworkID.startsWith(value),
  );
}

function isOnNode(view: View, nodeId: string, value: string): boolean {
  const node = view.nodes.get(nodeId);
  return node !== undefined && (nodeId === value || nodeName(view, node) === value);
}

const usesVolume = ({ container }: KnownContainer, value: string): boolean =>
  (container.spec?.mounts ?? []).some(({ source, target }) => source === value || target === value);

const publishes = ({ state }: KnownContainer, value: string): boolean => {
  const { first, last, protocol } = portRange(value);
  return state.ports.some(
    (port) => port.hostPort >= first && port.hostPort <= last && port.protocol === protocol,
  );
};

const exposes = ({ view, container }: KnownContainer, value: string): boolean => {
  const { first, last, protocol } = portRange(value);
  return effectiveConfig(view, container).exposedPorts.some((text) => {
    const [port, of = 'tcp'] = text.split('/');
    return Number(port) >= first && Number(port) <= last && of === protocol;
  });
};

const PORT_MAX = 65_535;

/** `80`, `80/udp`, `8000-8080/tcp`. */
function portRange(text: string) {
  const [, first, last = first, protocol = 'tcp'] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(\w+))?$/.exec(text) ?? [];
  if (first === undefined) throw invalid(`invalid port '${text}': write it as 80, 80/udp or 8000-8080/tcp`);
  if (Number(first) > Number(last) || Number(last) > PORT_MAX)
    throw invalid(
      `invalid port '${text}': ports go from 0 to ${PORT_MAX}, ranges from the smaller to the larger`,
    );
  return { first: Number(first), last: Number(last), protocol };
}

export const sizeToDocker = ({ writtenBytes, rootBytes }: ContainerSize) => ({
  SizeRw: writtenBytes,
  SizeRootFs: rootBytes,
});

/** One line of `docker ps`. */
export function summaryToDocker(one: KnownContainer, nowMs: number, size?: ContainerSize): object {
  const { view, container, state } = one;
  const config = effectiveConfig(view, container);
  const { path, args } = commandOf(config);
  const shown = openPorts(one);
  const published = new Set(shown.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`));
  const exposed = isRunning(state) ? config.exposedPorts.filter((port) => !published.has(port)) : [];
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: config.image,
    ImageID: config.imageId,
    Command: [path, ...args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg))].join(' '),
    Created: Math.floor((container.meta?.createdAtMs ?? 0) / 1_000),
    Ports: [
      ...shown.map(({ protocol, containerPort, hostIp, hostPort }) => ({
        IP: hostIp || '0.0.0.0',
        PrivatePort: containerPort,
        PublicPort: hostPort,
        Type: protocol,
      })),
      ...exposed.map((text) => {
        const [port, protocol = 'tcp'] = text.split('/');
        return { PrivatePort: Number(port), Type: protocol };
      }),
    ],
    ...(size ? sizeToDocker(size) : {}),
    Labels: config.labels,
    State: stateWord(state, container.removing),
    Status: statusText(state, container.removing, nowMs),
    HostConfig: { NetworkMode: networkModeText(view, container.host?.networkMode ?? '') },
    NetworkSettings: { Networks: networksToDocker(one) },
    Mounts: mountPoints(one),
  };
}
