import { Event, type Image, Journal } from '@tessera/shared/model';
import type { ControlContext } from '../ports.js';
import { attributesOf } from './container-events.js';

/** Others read a journal change by change, so its end alone is kept. */
const KEPT_MAX = 32;

/**
 * Tells every manager's watchers what this one has done that changes no object: an image pulled, pushed, saved. What was
 * done stays done when it cannot be told.
 */
export async function tell(
  { store, nodeId: managerId, clock, logger }: Pick<ControlContext, 'store' | 'nodeId' | 'clock' | 'logger'>,
  happened: Pick<Event, 'type' | 'action' | 'actorId' | 'attributes'>,
): Promise<void> {
  try {
    await store.update((tx) => {
      const { events } = tx.journals.get(managerId) ?? Journal.fromPartial({});
      const number = (events.at(-1)?.number ?? 0) + 1;
      const event = Event.fromPartial({ ...happened, number, atMs: clock.now() });
      tx.put('journals', { managerId, events: [...events, event].slice(-KEPT_MAX) });
    });
  } catch (error) {
    logger.warn({ error, action: happened.action }, 'an event could not be told');
  }
}

/** Of a container, beside what every event of it says. */
export async function tellOfContainer(
  context: Parameters<typeof tell>[0],
  containerId: string,
  action: 'commit',
  attributes: Readonly<Record<string, string>>,
): Promise<void> {
  const view = await context.store.read();
  const common = attributesOf(view, containerId, view.containers.get(containerId));
  const happened = {
    type: 'container',
    action,
    actorId: containerId,
    attributes: { ...common, ...attributes },
  };
  return tell(context, happened);
}

/** As dockerd does where there is no reference: the image's id is its name. */
export const tellOfImage = (
  context: Parameters<typeof tell>[0],
  action: 'load' | 'import' | 'save' | 'tag',
  { configDigest }: Pick<Image, 'configDigest'>,
  name = configDigest,
): Promise<void> => tell(context, { type: 'image', action, actorId: configDigest, attributes: { name } });
