import type { ServiceDefinition } from '@grpc/grpc-js';
import { CertificateAuthorityService, DispatcherService, ManagerPeersService } from '@tessera/shared/wire';

/** Who may call a method: anyone at all, any node of the cluster, or its managers only. */
export type CallerRole = 'anyone' | 'node' | 'manager';

type MethodNames<Definition> = { readonly [Method in keyof Definition]: CallerRole };

function rolesOf<Definition extends ServiceDefinition>(
  definition: Definition,
  roles: MethodNames<Definition>,
): [string, CallerRole][] {
  return Object.entries(definition).map(([name, { path }]) => [path, roles[name as keyof Definition]]);
}

/** The one table of who may call what, by the method's path. A method that is not here cannot be served. */
export const METHOD_ROLES: ReadonlyMap<string, CallerRole> = new Map([
  ...rolesOf(DispatcherService, { session: 'node', locateImage: 'node' }),
  ...rolesOf(ManagerPeersService, { requestStream: 'manager' }),
  ...rolesOf(CertificateAuthorityService, { getRootCertificate: 'anyone', join: 'anyone', renew: 'node' }),
]);
