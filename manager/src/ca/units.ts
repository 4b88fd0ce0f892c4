import type { Node_Role } from '@tessera/shared/model';

/** Organisational units: what the holder of a certificate is. One certificate has one. */
export const UNITS = {
  worker: 'tessera-worker',
  manager: 'tessera-manager',
  /** A user of the API. Never accepted where nodes are, nor the other way round. */
  client: 'client',
  /** The API's own serving certificate. */
  server: 'tessera-api',
} as const;

export const unitOfRole = (role: Node_Role): string => (role === 'manager' ? UNITS.manager : UNITS.worker);
