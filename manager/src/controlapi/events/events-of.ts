import type { Image, Network, Node, Service } from '@tessera/shared/model';
import type { Change, View } from '../../store/view.js';
import { familiarName } from '../image-reference.js';
import { nodeName } from '../lookup.js';
import type { ClusterEvent, Draft } from './cluster-event.js';
import { containerEvents, type FormerPlaces, stateEvents } from './container-events.js';
import { volumeEvents } from './volume-events.js';

/** What the changes of one revision mean to a user, in order. */
export function eventsOf(changes: readonly Change[], view: View, nowMs: number): ClusterEvent[] {
  const former: FormerPlaces = new Map(
    changes.flatMap((change) => {
      const { id, before, after } = change as Change<'containerPlacements'>;
      return change.kind === 'containerPlacements' && before && !after ? [[id, before]] : [];
    }),
  );
  const drafts = changes.flatMap((change) => draftsOf(change, view, former));
  return drafts.map((draft) => ({ ...draft, atMs: draft.atMs || nowMs }));
}

function draftsOf(change: Change, view: View, former: FormerPlaces): Draft[] {
  switch (change.kind) {
    case 'containers':
      return containerEvents(change as Change<'containers'>, view, former);
    case 'containerStates':
      return stateEvents(change as Change<'containerStates'>, view);
    case 'journals':
      return journalEvents(change as Change<'journals'>);
    case 'volumes':
      return volumeEvents(change as Change<'volumes'>);
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
      return imageEvents(change as Change<'images'>, view);
    default:
      return [];
  }
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

/**
 * Names that an image has at its first are no news: it was pulled, loaded or made, which is told. A name that passes to
 * another image is told of there alone.
 */
function imageEvents({ id, before, after }: Change<'images'>, view: View): Draft[] {
  const imageId = (after ?? before)?.configDigest || id;
  const event = (action: string, name: string): Draft => ({
    type: 'image',
    action,
    id: imageId,
    attributes: { name },
  });
  const names = (image: Image | undefined) => image?.names ?? [];
  const added = before ? names(after).filter((name) => !names(before).includes(name)) : [];
  const removed = names(before).filter((name) => !names(after).includes(name) && !view.images.byName(name));
  return [
    ...added.map((name) => event('tag', familiarName(name))),
    ...removed.map(() => event('untag', imageId)),
    ...(before && !after ? [event('delete', imageId)] : []),
  ];
}

/** What a manager has done since; a journal that is new to this one tells of its own past alone. */
function journalEvents({ before, after }: Change<'journals'>): Draft[] {
  const known = before?.events.at(-1)?.number ?? 0;
  return (after?.events ?? [])
    .filter(({ number }) => number > known)
    .map(({ type, action, actorId, attributes, atMs }) => ({
      type: type as Draft['type'],
      action,
      id: actorId,
      attributes,
      atMs,
    }));
}
