import type { ContainerState, Image, Network, Node, Service } from '@tessera/shared/model';
import type { Change, View } from '../../store/view.js';
import { nodeName } from '../lookup.js';

/** Something that happened, in Docker's words. */
export interface ClusterEvent {
  readonly type: 'container' | 'network' | 'image' | 'node' | 'service';
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** When it happened, as far as whoever saw it says. */
  readonly atMs: number;
}

type Draft = Omit<ClusterEvent, 'atMs'> & { readonly atMs?: number };

/**
 * What the changes of one revision mean to a user, in order.
 *
 * Containers count their starts and exits, so one that ended and began again between two reports is seen to have done
 * both. What is asked of agents and never stored (kill, attach, exec) is no change, and not here.
 */
export function eventsOf(changes: readonly Change[], view: View, nowMs: number): ClusterEvent[] {
  const drafts = changes.flatMap((change) => draftsOf(change, view));
  return drafts.map((draft) => ({ ...draft, atMs: draft.atMs || nowMs }));
}

function draftsOf(change: Change, view: View): Draft[] {
  switch (change.kind) {
    case 'containers':
      return containerEvents(change as Change<'containers'>, view);
    case 'containerStates':
      return stateEvents(change as Change<'containerStates'>, view);
    case 'networks':
      return objectEvents('network', change as Change<'networks'>, networkAttributes, ['create', 'destroy']);
    case 'services':
      return objectEvents('service', change as Change<'services'>, serviceAttributes, [
        'create',
        'remove',
        'update',
      ]);
    case 'nodes':
      return objectEvents('node', change as Change<'nodes'>, nodeAttributes(view), [
        'create',
        'remove',
        'update',
      ]);
    case 'images':
      return imageEvents(change as Change<'images'>);
    default:
      return [];
  }
}

function containerEvents({ id, before, after }: Change<'containers'>, view: View): Draft[] {
  const attributes = containerAttributes(view, id, before);
  const event = (action: string, extra: object = {}): Draft => ({
    type: 'container',
    action,
    id,
    attributes: { ...attributes, ...extra },
  });
  // One that never came to be is not destroyed either.
  if (!after) return before?.target?.generation ? [event('destroy')] : [];
  if (before && before.name !== after.name) return [event('rename', { oldName: `/${before.name}` })];
  return [];
}

function stateEvents({ id, before, after }: Change<'containerStates'>, view: View): Draft[] {
  const container = view.containers.get(id);
  if (!after || !container) return [];
  const attributes = containerAttributes(view, id);
  const found: Draft[] = [];
  const add = (action: string, extra: Readonly<Record<string, string>> = {}, atMs = 0) =>
    found.push({ type: 'container', action, id, attributes: { ...attributes, ...extra }, atMs });

  if (!before && after.generationError === '') add('create', {}, container.meta?.createdAtMs);
  const starts = after.starts - (before?.starts ?? 0);
  const exits = after.exits - (before?.exits ?? 0);
  // In turn: what ran ends before it begins again.
  const wasRunning = (before?.starts ?? 0) > (before?.exits ?? 0);
  for (let turn = 0; turn < Math.max(starts, exits); turn++) {
    if (wasRunning && turn < exits) addExit(after, add);
    if (turn < starts) add('start', {}, after.startedAtMs);
    if (!wasRunning && turn < exits) addExit(after, add);
  }
  if (after.state === 'paused' && before?.state !== 'paused') add('pause');
  if (before?.state === 'paused' && after.state === 'running') add('unpause');
  const health = after.health?.status ?? 'none';
  if (health !== 'none' && health !== (before?.health?.status ?? 'none')) add(`health_status: ${health}`);
  const verb = container.target?.verb;
  const isAnswered =
    after.generation === container.target?.generation && before?.generation !== after.generation;
  if (
    isAnswered &&
    after.generationErrorKind === '' &&
    (verb === 'stop' || verb === 'restart' || verb === 'update')
  )
    add(verb);
  return found;
}

type Add = (action: string, extra?: Readonly<Record<string, string>>, atMs?: number) => void;

function addExit({ exitCode, oomKilled, startedAtMs, finishedAtMs }: ContainerState, add: Add): void {
  if (oomKilled) add('oom', {}, finishedAtMs);
  const seconds = Math.max(0, Math.round((finishedAtMs - startedAtMs) / 1_000));
  add('die', { exitCode: String(exitCode), execDuration: String(seconds) }, finishedAtMs);
}

function containerAttributes(
  view: View,
  id: string,
  gone?: Change<'containers'>['before'],
): Record<string, string> {
  const container = view.containers.get(id) ?? gone;
  const node = view.nodes.get(view.containerPlacements.get(id)?.nodeId ?? '');
  return {
    ...container?.spec?.labels,
    image: container?.spec?.image ?? '',
    name: container?.name ?? '',
    ...(node ? { 'node.id': node.id, 'node.name': nodeName(view, node) } : {}),
  };
}

/** @param actions for one that has come, has gone (or is on its way), and has changed */
function objectEvents<T extends object>(
  type: ClusterEvent['type'],
  {
    id,
    before,
    after,
  }: { readonly id: string; readonly before: T | undefined; readonly after: T | undefined },
  attributesOf: (object: T) => Record<string, string>,
  [come, gone, changed]: readonly [string, string, string?],
): Draft[] {
  // Where removal is in two steps, the first is what a user sees.
  const live = (object: T | undefined) =>
    object && 'removing' in object && object.removing ? undefined : object;
  const [was, is] = [live(before), live(after)];
  const action = was ? (is ? changed : gone) : is ? come : undefined;
  const object = is ?? was;
  return action && object ? [{ type, action, id, attributes: attributesOf(object) }] : [];
}

const networkAttributes = ({ spec }: Network): Record<string, string> => ({
  name: spec?.name ?? '',
  type: spec?.driver ?? '',
});
const serviceAttributes = ({ spec }: Service): Record<string, string> => ({ name: spec?.name ?? '' });
const nodeAttributes =
  (view: View) =>
  (node: Node): Record<string, string> => ({ name: nodeName(view, node) });

function imageEvents({ id, before, after }: Change<'images'>): Draft[] {
  const names = (image: Image | undefined) => image?.names ?? [];
  const event = (action: string, name: string): Draft => ({
    type: 'image',
    action,
    id,
    attributes: { name },
  });
  const added = names(after).filter((name) => !names(before).includes(name));
  const removed = names(before).filter((name) => !names(after).includes(name));
  return [
    ...added.map((name) => event('tag', name)),
    ...removed.map((name) => event('untag', name)),
    ...(before && !after ? [event('delete', id)] : []),
  ];
}
