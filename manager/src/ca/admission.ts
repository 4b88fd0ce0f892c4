import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { formatJoinToken, newJoinSecret, parseJoinToken, sameJoinToken } from '@tessera/shared/join-token';
import { type Cluster, type JoinTokens, Node, type Node_Role } from '@tessera/shared/model';
import type { JoinRequest, JoinResponse } from '@tessera/shared/wire';
import type { Store, View } from '../store/view.js';
import { Signer, SigningRequest } from './signer.js';
import { unitOfRole } from './units.js';

const NODE_DAYS = 90;
const ID_LENGTH = 25;
const HOSTNAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Two new tokens for a CA, for workers and for managers. */
export const newJoinTokens = (caCertPem: string, random: Random): JoinTokens => ({
  worker: formatJoinToken(caCertPem, newJoinSecret(random)),
  manager: formatJoinToken(caCertPem, newJoinSecret(random)),
});

/**
 * A node's id is made from its public key, so a node that joins again with its key is the same node, and
 * nobody else can become it.
 */
export async function nodeIdOf(request: SigningRequest): Promise<string> {
  const digest = await request.keyDigest();
  return BigInt(`0x${digest.toString('hex')}`)
    .toString(36)
    .padStart(ID_LENGTH, '0')
    .slice(-ID_LENGTH);
}

/** The certificate of a node: it serves its peers and calls managers, so it is good for both. */
export const signNode = (
  signer: Signer,
  request: SigningRequest,
  nodeId: string,
  role: Node_Role,
): Promise<string> =>
  signer.sign(request, {
    commonName: nodeId,
    unit: unitOfRole(role),
    validDays: NODE_DAYS,
    usages: ['client', 'server'],
    alternativeNames: [unitOfRole(role), nodeId],
  });

/** What the answer to a joining node carries beside its certificate. */
export interface JoinExtras {
  /** HOST:PORT of every manager's gRPC server. */
  managerAddrs(view: View): readonly string[];
  /** What a joining manager needs to start, JSON. Undefined while this cluster takes no further managers. */
  managerBootstrap(nodeId: string): Promise<string> | undefined;
}

/** Lets nodes into the cluster and renews their certificates. */
export class Admission {
  constructor(
    private readonly store: Store,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly extras: JoinExtras,
  ) {}

  /** Open to everyone: what a joining node compares with the digest in its token. */
  async rootCertificate(): Promise<string> {
    return (await this.#cluster()).caCertPem;
  }

  /**
   * Makes the caller a node, or the node that it already is.
   *
   * @throws ClusterError `permissionDenied` for a wrong token, `invalidArgument` for a bad request
   */
  async join(request: JoinRequest): Promise<JoinResponse> {
    const cluster = await this.#cluster();
    const granted = grantedRole(cluster, request.token);
    if (!HOSTNAME.test(request.hostname))
      throw invalid(`hostname ${JSON.stringify(request.hostname.slice(0, 64))} is not a host name`);
    const csr = await SigningRequest.parse(request.csrPem);
    const nodeId = await nodeIdOf(csr);
    const bootstrap = granted === 'manager' ? this.extras.managerBootstrap(nodeId) : undefined;
    if (granted === 'manager' && !bootstrap)
      throw new ClusterError(
        'unimplemented',
        'this version runs one manager; join with the worker token ("tsctl cluster token worker")',
      );
    const node = await this.#admit(nodeId, granted, request);
    return this.#answer(cluster, node, csr, (await bootstrap) ?? '');
  }

  /** A new certificate for a node that proved itself with its present one. */
  async renew(nodeId: string, csrPem: string): Promise<JoinResponse> {
    const cluster = await this.#cluster();
    const node = this.store.view().nodes.get(nodeId);
    if (!node) throw new ClusterError('permissionDenied', `node ${nodeId} is not part of this cluster`);
    return this.#answer(cluster, node, await SigningRequest.parse(csrPem), '');
  }

  #admit(nodeId: string, granted: Node_Role, request: JoinRequest): Promise<Node> {
    return this.store.update((tx) => {
      const known = tx.nodes.get(nodeId);
      // A worker's token does not take a manager's role away: demotion is the user's word, not the node's.
      if (known && (known.role === granted || granted === 'worker')) return known;
      const { hostname: name, availability } = request;
      const node: Node = { ...(known ?? Node.create({ id: nodeId, name, availability })), role: granted };
      tx.put('nodes', node);
      return node;
    });
  }

  async #answer(cluster: Cluster, node: Node, csr: SigningRequest, bootstrap: string): Promise<JoinResponse> {
    const signer = await Signer.open(cluster, cluster.id, this.clock, this.random);
    return {
      nodeId: node.id,
      clusterId: cluster.id,
      role: node.role,
      certPem: await signNode(signer, csr, node.id, node.role),
      caCertPem: cluster.caCertPem,
      managerAddrs: [...this.extras.managerAddrs(this.store.view())],
      managerBootstrap: bootstrap,
    };
  }

  async #cluster(): Promise<Cluster> {
    const { cluster } = await this.store.read();
    if (!cluster) throw new ClusterError('unavailable', 'this manager has no cluster yet');
    return cluster;
  }
}

/** @throws ClusterError `permissionDenied`, without saying which part of the token is wrong */
function grantedRole(cluster: Cluster, token: string): Node_Role {
  parseJoinToken(token);
  const { worker = '', manager = '' } = cluster.joinTokens ?? {};
  if (manager && sameJoinToken(token.trim(), manager)) return 'manager';
  if (worker && sameJoinToken(token.trim(), worker)) return 'worker';
  throw new ClusterError(
    'permissionDenied',
    'this join token is not valid here, or no longer; print the present one on a manager with "tsctl cluster token worker"',
  );
}
