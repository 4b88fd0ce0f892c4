import type { ServerUnaryCall } from '@grpc/grpc-js';
import { ClusterError } from '@tessera/shared/errors';
import type { Node_Role } from '@tessera/shared/model';
import { UNITS } from '../ca/index.js';
import type { Store, View } from '../store/view.js';
import { type CallerRole, METHOD_ROLES } from './roles.js';

export type AuthContext = ReturnType<ServerUnaryCall<unknown, unknown>['getAuthContext']>;

/** Who calls, by the certificate and the store; never by what a message says. */
export interface Caller {
  readonly nodeId: string;
  readonly role: Node_Role;
}

/**
 * Decides whether a call may go on.
 *
 * @param path the method's, `/tessera.v1.Dispatcher/Session`
 * @returns the caller; undefined for the methods open to everyone
 * @throws ClusterError `unauthenticated` without a certificate of this cluster, `permissionDenied` otherwise
 */
export async function authorize(
  path: string,
  context: AuthContext,
  store: Store,
): Promise<Caller | undefined> {
  const required = METHOD_ROLES.get(path);
  if (!required) throw new ClusterError('permissionDenied', `no role may call ${path}`);
  if (required === 'anyone') return undefined;

  const caller = await nodeOf(context, store);
  if (!mayCall(required, caller))
    throw new ClusterError('permissionDenied', `a ${caller.role} node may not call ${path}`);
  return caller;
}

/** Whichever node of the cluster it is. @throws ClusterError `unauthenticated`, `permissionDenied` for anybody else */
export async function nodeOf(context: AuthContext, store: Store): Promise<Caller> {
  const claimed = certifiedCaller(context);
  // The cache may be a moment behind another manager's: only a fresh look may turn a node away.
  const caller = actualCaller(claimed, store.view()) ?? actualCaller(claimed, await store.read());
  if (!caller) throw stranger(claimed, store.view());
  return caller;
}

/** The certificate is good, and the node has been removed from the cluster. */
export class RemovedNodeError extends ClusterError {
  constructor(nodeId: string) {
    super('permissionDenied', `node ${nodeId} is not part of this cluster`);
  }
}

function stranger({ nodeId, clusterId }: CertifiedCaller, { cluster }: View): ClusterError {
  if (!cluster) return new ClusterError('unavailable', 'this manager has no cluster yet');
  if (cluster.id !== clusterId)
    return new ClusterError(
      'permissionDenied',
      `this certificate is of cluster ${clusterId}, not of this one`,
    );
  return new RemovedNodeError(nodeId);
}

const mayCall = (required: CallerRole, caller: Caller): boolean =>
  required === 'node' || caller.role === 'manager';

interface CertifiedCaller extends Caller {
  readonly clusterId: string;
}

/** What the certificate says. `context` holds one only if the cluster's CA has issued it. */
function certifiedCaller(context: AuthContext): CertifiedCaller {
  const subject = context.sslPeerCertificate?.subject;
  if (!subject)
    throw new ClusterError('unauthenticated', 'this call needs a certificate issued by the cluster');
  const { CN: nodeId, OU: unit, O: clusterId } = subject as unknown as Record<string, unknown>;
  const role = unit === UNITS.manager ? 'manager' : unit === UNITS.worker ? 'worker' : undefined;
  if (!role || typeof nodeId !== 'string' || typeof clusterId !== 'string')
    throw new ClusterError('permissionDenied', "this certificate is not a node's");
  return { nodeId, role, clusterId };
}

/** A demoted manager is a worker at once, though its certificate still says otherwise. */
function actualCaller(claimed: CertifiedCaller, view: View): Caller | undefined {
  const node = view.nodes.get(claimed.nodeId);
  if (!node || view.cluster?.id !== claimed.clusterId) return undefined;
  const role = claimed.role === 'manager' && node.role === 'manager' ? 'manager' : 'worker';
  return { nodeId: claimed.nodeId, role };
}
