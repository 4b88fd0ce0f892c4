import type { ControlContext } from '../controlapi/index.js';
import { type RequestHandler, serveRoutes } from './api-server.js';
import { createBody } from './docker/containers/schema.js';
import { dockerRoutes } from './docker/index.js';
import { type FieldFact, fieldsOf } from './docker/json-edge.js';
import type { Route } from './route.js';
import { tesseraRoutes } from './tessera/index.js';

export { isUser } from './access.js';
export { type RequestHandler, serveRoutes } from './api-server.js';
export { localNode } from './local-node.js';
export type { Route } from './route.js';
export { Router } from './router.js';

export interface ApiServerDeps extends ControlContext {
  /** This host's data directory, as `info` shows it. */
  readonly dataDir: string;
}

/** Every field of the body that makes a container. */
export const containerFields = (): FieldFact[] => fieldsOf(createBody);

/** Every route there is. */
export const apiRoutes = (deps: ApiServerDeps): Route[] => [
  ...dockerRoutes(deps, deps.dataDir),
  ...tesseraRoutes(deps),
];

/**
 * The API as a request listener for `http.createServer` on the unix socket and `https.createServer` over TLS, the
 * latter with `requestCert` and the cluster's CA; `rejectUnauthorized: false` lets it answer 401 in words.
 */
export function createApiServer(deps: ApiServerDeps): RequestHandler {
  return serveRoutes(apiRoutes(deps), deps.clock, deps.logger.child({ module: 'server' }));
}
