import type { Container, ContainerPlacement, ContainerState, Node } from '@tessera/shared/model';
import type { Change, View } from '../../store/view.js';
import { hostNetworkId } from '../host-networks.js';
import { nodeName } from '../lookup.js';
import type { Draft } from './cluster-event.js';
import { mountEvents } from './volume-events.js';

/** Where containers were that went in the same breath as the change that is looked at. */
export type FormerPlaces = ReadonlyMap<string, ContainerPlacement>;

export function containerEvents(
  { id, before, after }: Change<'containers'>,
  view: View,
  former: FormerPlaces,
): Draft[] {
  const event = (action: string, extra: Readonly<Record<string, string>> = {}): Draft => ({
    type: 'container',
    action,
    id,
    attributes: { ...attributesOf(view, id, after ?? before, former), ...extra },
  });
  // One that never came to be is not destroyed either.
  if (!after) return before?.target?.generation ? [event('destroy')] : [];
  if (before && before.name !== after.name) return [event('rename', { oldName: `/${before.name}` })];
  return [];
}

/**
 * What a state tells beyond the one before: starts and ends, which are counted, so that one that ended and began again
 * between two reports is seen to have done both; and what its agent has written down beside.
 */
export function stateEvents({ id, before, after }: Change<'containerStates'>, view: View): Draft[] {
  const container = view.containers.get(id);
  if (!after || !container) return [];
  const attributes = attributesOf(view, id, container, NOWHERE);
  const event = (action: string, extra: Readonly<Record<string, string>> = {}, atMs = 0): Draft => ({
    type: 'container',
    action,
    id,
    attributes: { ...attributes, ...extra },
    atMs,
  });
  const noted = after.events
    .filter(({ number }) => number > (before?.sequence ?? 0))
    .flatMap(({ action, attributes: more, atMs }): Draft[] =>
      action === 'mount' || action === 'unmount'
        ? mountEvents(container, action, atMs)
        : [event(action, more, atMs)],
    );
  const runs = runsBetween(before, after, container, view, event);
  const created =
    !before && after.generationError === '' ? [event('create', {}, container.meta?.createdAtMs)] : [];
  return [...created, ...inTurn(noted, runs), ...changesBetween(before, after, container, event)];
}

/** Each in its own order; what was noted at the same moment came first: the signal before the end it brought about. */
function inTurn(noted: readonly Draft[], runs: readonly Draft[]): Draft[] {
  const left = [...noted];
  const before = (atMs: number): Draft[] => {
    const next = left.findIndex((event) => (event.atMs ?? 0) > atMs);
    return left.splice(0, next < 0 ? left.length : next);
  };
  return [...runs.flatMap((event) => [...before(event.atMs ?? 0), event]), ...left];
}

const NOWHERE: FormerPlaces = new Map();

type Make = (action: string, extra?: Readonly<Record<string, string>>, atMs?: number) => Draft;

/** In turn: what ran ends before it begins again. */
function runsBetween(
  before: ContainerState | undefined,
  after: ContainerState,
  container: Container,
  view: View,
  event: Make,
): Draft[] {
  const starts = after.starts - (before?.starts ?? 0);
  const exits = after.exits - (before?.exits ?? 0);
  const wasRunning = (before?.starts ?? 0) > (before?.exits ?? 0);
  const isRestart =
    container.target?.verb === 'restart' && (before?.generation ?? 0) < container.target.generation;
  const exit = (): Draft[] => [
    ...exitEvents(after, event),
    ...networkEvents(view, container, 'disconnect', after.finishedAtMs),
    ...mountEvents(container, 'unmount', after.finishedAtMs),
    ...(isRestart ? [event('stop', {}, after.finishedAtMs)] : []),
  ];
  const start = (): Draft[] => [
    ...networkEvents(view, container, 'connect', after.startedAtMs),
    ...mountEvents(container, 'mount', after.startedAtMs),
    event('start', {}, after.startedAtMs),
  ];
  return Array.from({ length: Math.max(starts, exits, 0) }, (_, turn) => [
    ...(wasRunning && turn < exits ? exit() : []),
    ...(turn < starts ? start() : []),
    ...(!wasRunning && turn < exits ? exit() : []),
  ]).flat();
}

function exitEvents(
  { exitCode, oomKilled, startedAtMs, finishedAtMs }: ContainerState,
  event: Make,
): Draft[] {
  const seconds = Math.max(0, Math.round((finishedAtMs - startedAtMs) / 1_000));
  return [
    ...(oomKilled ? [event('oom', {}, finishedAtMs)] : []),
    event('die', { exitCode: String(exitCode), execDuration: String(seconds) }, finishedAtMs),
  ];
}

/** A container is on its networks while it runs. */
function networkEvents(
  view: View,
  { id, host, networks }: Container,
  action: 'connect' | 'disconnect',
  atMs: number,
): Draft[] {
  const mode = host?.networkMode || 'default';
  const own = networks.some(({ networkId }) => networkId === mode) || mode.startsWith('container:');
  const local = mode === 'default' ? 'bridge' : mode;
  const ids = [...(own ? [] : [local]), ...networks.map(({ networkId }) => networkId)];
  return ids.map((networkId) => {
    const spec = view.networks.get(networkId)?.spec;
    const kind = networkId === 'none' ? 'null' : networkId;
    const attributes = { container: id, name: spec?.name ?? networkId, type: spec?.driver ?? kind };
    return {
      type: 'network',
      action,
      id: hostNetworkId(networkId),
      attributes,
      atMs,
      isLocal: spec === undefined,
    };
  });
}

function changesBetween(
  before: ContainerState | undefined,
  after: ContainerState,
  { target }: Container,
  event: Make,
): Draft[] {
  const found: Draft[] = [];
  if (after.state === 'paused' && before?.state !== 'paused') found.push(event('pause'));
  if (before?.state === 'paused' && after.state === 'running') found.push(event('unpause'));
  const health = after.health?.status ?? 'none';
  if (health !== 'none' && health !== 'starting' && health !== (before?.health?.status ?? 'none'))
    found.push(event(`health_status: ${health}`));
  const verb = target?.verb;
  const isAnswered = after.generation === target?.generation && before?.generation !== after.generation;
  const isTold = verb === 'stop' || verb === 'restart' || verb === 'update';
  if (isAnswered && after.generationErrorKind === '' && isTold) found.push(event(verb));
  return found;
}

/** Docker's, and the stand-alone Swarm's on the node (docker/swarm api/events.go). */
export function attributesOf(
  view: View,
  id: string,
  container: Container | undefined,
  former: FormerPlaces = NOWHERE,
): Record<string, string> {
  const placement = view.containerPlacements.get(id) ?? former.get(id);
  const node = view.nodes.get(placement?.nodeId ?? '');
  return {
    ...container?.spec?.labels,
    image: container?.spec?.image ?? '',
    name: container?.name ?? '',
    ...(node ? nodeAttributes(view, node) : {}),
  };
}

function nodeAttributes(view: View, node: Node): Record<string, string> {
  const status = view.nodeStatuses.get(node.id);
  return {
    'node.id': node.id,
    'node.name': nodeName(view, node),
    'node.ip': status?.addr ?? '',
    'node.addr': status?.description?.peerAddr ?? '',
  };
}
