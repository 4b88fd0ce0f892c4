import { type ChannelCredentials, credentials as grpcCredentials, type ServiceError } from '@grpc/grpc-js';
import { ClusterError, fromServiceError } from '@tessera/shared/errors';
import { ManagerPeersClient, ManagerPeersService, type StreamRequest } from '@tessera/shared/wire';
import { UNITS } from '../ca/index.js';
import type { ManagerPeers, StreamRequester } from '../streams/index.js';
import type { RpcServer } from './rpc-server.js';
import type { TlsIdentity } from './tls-identity.js';

/** Lets other managers reach the agents whose sessions are here. */
export function serveManagerPeers(server: RpcServer, dispatcher: StreamRequester): void {
  server.unary(ManagerPeersService.requestStream, async ({ nodeId, request }) => {
    if (!request) throw new ClusterError('invalidArgument', 'request is missing');
    if (!dispatcher.requestStream(nodeId, request))
      throw new ClusterError('unavailable', `node ${nodeId} has no session with this manager, or no longer`);
    return {};
  });
}

/** Calls other managers, by their address and the name `tessera-manager` in their certificate. */
export class ManagerPeersCaller implements ManagerPeers {
  readonly #clients = new Map<string, ManagerPeersClient>();

  constructor(private readonly identity: () => TlsIdentity) {}

  requestStream(managerAddr: string, nodeId: string, request: StreamRequest): Promise<void> {
    const client = this.#client(managerAddr);
    return new Promise((resolve, reject) => {
      const done = (error: ServiceError | null) => {
        if (!error) return resolve();
        // The next call dials anew, with the certificate of that time.
        this.#forget(managerAddr);
        reject(fromServiceError(error));
      };
      client.requestStream({ nodeId, request }, done);
    });
  }

  close(): void {
    for (const addr of [...this.#clients.keys()]) this.#forget(addr);
  }

  #client(managerAddr: string): ManagerPeersClient {
    const known = this.#clients.get(managerAddr);
    if (known) return known;
    const client = new ManagerPeersClient(managerAddr, channelCredentials(this.identity()), {
      'grpc.ssl_target_name_override': UNITS.manager,
    });
    this.#clients.set(managerAddr, client);
    return client;
  }

  #forget(managerAddr: string): void {
    this.#clients.get(managerAddr)?.close();
    this.#clients.delete(managerAddr);
  }
}

function channelCredentials({ keyPem, certPem, caCertPem }: TlsIdentity): ChannelCredentials {
  return grpcCredentials.createSsl(Buffer.from(caCertPem), Buffer.from(keyPem), Buffer.from(certPem));
}
