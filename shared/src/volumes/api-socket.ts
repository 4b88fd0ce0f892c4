import type { Mount } from '../model/index.js';

/** Below a manager's `<run-dir>`: a directory with nothing but its API's socket, for containers that may have that. */
export const API_DIRECTORY = 'api';
export const API_SOCKET = 'tessera.sock';

/** What containers name for an engine's API: the cluster's, here. And its own name, as clients take it from DOCKER_HOST. */
const NAMES = new Set([
  '/var/run/docker.sock',
  '/run/docker.sock',
  '/run/tessera/tessera.sock',
  '/var/run/tessera/tessera.sock',
]);

export const isApiSocket = ({ type, source }: Pick<Mount, 'type' | 'source'>): boolean =>
  type === 'bind' && NAMES.has(source);
