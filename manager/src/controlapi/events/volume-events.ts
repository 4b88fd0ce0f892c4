import type { Change, View } from '../../store/view.js';
import type { Draft } from './cluster-event.js';

/** A volume is made and goes: its name is its id, as with Docker. */
export function volumeEvents({ before, after }: Change<'volumes'>): Draft[] {
  const volume = after ?? before!;
  // One that a node had for itself is an object only while it is being removed.
  const was = before !== undefined && !before.removing;
  const is = after !== undefined && !after.removing;
  const isOwn = volume.nodeId !== '';
  if (isOwn && !before && after) return [event('destroy', volume.name, { driver: 'local' })];
  if (isOwn || was === is) return [];
  return [event(is ? 'create' : 'destroy', volume.name, { driver: volume.driver })];
}

/** A container that starts mounts its volumes; one that ends lets go of them. */
export function mountEvents({ id, before, after }: Change<'containerStates'>, view: View): Draft[] {
  const mounts = (view.containers.get(id)?.spec?.mounts ?? []).filter(({ type }) => type === 'volume');
  if (!after || mounts.length === 0) return [];
  const started = after.starts > (before?.starts ?? 0);
  const ended = after.exits > (before?.exits ?? 0);
  return mounts.flatMap(({ source, target, readOnly, propagation }) => [
    ...(started
      ? [
          event('mount', source, {
            container: id,
            destination: target,
            driver: 'local',
            propagation,
            'read/write': String(!readOnly),
          }),
        ]
      : []),
    ...(ended ? [event('unmount', source, { container: id, driver: 'local' })] : []),
  ]);
}

const event = (action: string, id: string, attributes: Record<string, string>): Draft => ({
  type: 'volume',
  action,
  id,
  attributes,
});
