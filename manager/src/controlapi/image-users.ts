import { isBefore } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { isRunning } from './containers/lookup.js';
import { taskName } from './lookup.js';

/** Something that keeps an image from being removed. */
export type ImageUser =
  | { readonly kind: 'container'; readonly id: string; readonly isRunning: boolean }
  /** A service that may start it any time, or one of its tasks. */
  | { readonly kind: 'service'; readonly name: string }
  /** A task that is to end, of a service that is gone: it only takes until it has. */
  | { readonly kind: 'ending task'; readonly name: string };

/** All that use an image, or may use it again by a rollback. */
export function usersOf(view: View, imageId: string): ImageUser[] {
  const users: ImageUser[] = [];
  for (const service of view.services.all()) {
    // One that is being removed will start nothing more; its tasks are looked at below.
    if (service.removing) continue;
    const specs = [service.spec, service.previousSpec];
    if (specs.some((spec) => spec?.task?.container?.imageDigest === imageId))
      users.push({ kind: 'service', name: `service ${service.spec?.name}` });
  }
  for (const { id, spec } of view.containers.all()) {
    if (spec?.imageDigest !== imageId) continue;
    const state = view.containerStates.get(id);
    users.push({ kind: 'container', id, isRunning: state !== undefined && isRunning(state) });
  }
  for (const task of view.tasks.all()) {
    if (view.specOf(task).container?.imageDigest !== imageId) continue;
    const service = view.services.get(task.serviceId);
    const isEnding = !service || service.removing || isBefore('running', task.desiredState);
    users.push({ kind: isEnding ? 'ending task' : 'service', name: `task ${taskName(task)}` });
  }
  return users;
}
