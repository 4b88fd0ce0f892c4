import { ClusterError } from '@tessera/shared/errors';
import type { Route } from '../route.js';

/** Docker's words that are not served yet, and what to do instead. They answer 501 rather than "page not found". */
const NOT_YET: Readonly<Record<string, string>> = {
  '/secrets': 'secrets are not supported yet',
  '/configs': 'configs are not supported yet',
  '/plugins': 'plugins are not supported',
  '/build': 'building images is not supported yet: load one with "image load"',
  '/session': 'sessions of the builder are not supported yet',
  '/images/search': 'searching registries is not supported',
};
/** The same below a name: `/images/busybox/push`. */
const NOT_YET_VERBS: Readonly<Record<string, string>> = {
  '/containers/:id/checkpoints': 'checkpoints are not supported',
  '/networks/:id/connect': 'attaching containers to networks is not supported yet: use "service update"',
  '/networks/:id/disconnect': 'detaching containers from networks is not supported yet: use "service update"',
};
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'];

function refused(method: string, pattern: string, refusal: string): Route {
  const handle = () => {
    throw new ClusterError('unimplemented', refusal);
  };
  return { kind: 'json', method, pattern, handle, refusal };
}

export function notYetRoutes(): Route[] {
  const refuse = (pattern: string, message: string, methods = METHODS) =>
    methods.map((method) => refused(method, pattern, message));
  return [
    ...Object.entries(NOT_YET).flatMap(([path, message]) =>
      // `DELETE /images/create` removes the image of that name.
      path.startsWith('/images/')
        ? refuse(path, message, ['GET', 'POST'])
        : [...refuse(path, message), ...refuse(`${path}/:rest`, message)],
    ),
    ...Object.entries(NOT_YET_VERBS).flatMap(([pattern, message]) => refuse(pattern, message)),
  ];
}
