import type { Container } from '@tessera/shared/model';
import type { Change } from '../../store/view.js';
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

/** A container that starts mounts its volumes; one that ends lets go of them. So does who copies from it or to it. */
export function mountEvents({ id, spec }: Container, action: 'mount' | 'unmount', atMs: number): Draft[] {
  return (spec?.mounts ?? [])
    .filter(({ type }) => type === 'volume')
    .map(({ source, target, readOnly, propagation }) => {
      const details =
        action === 'mount' ? { destination: target, propagation, 'read/write': String(!readOnly) } : {};
      return { ...event(action, source, { container: id, driver: 'local', ...details }), atMs };
    });
}

const event = (action: string, id: string, attributes: Record<string, string>): Draft => ({
  type: 'volume',
  action,
  id,
  attributes,
});
