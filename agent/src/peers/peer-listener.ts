import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { verifyImageToken } from '@tessera/shared/image-token';
import { PeerService } from '@tessera/shared/wire';
import { type PeerServerOptions, peerServer } from '../image/index.js';
import type { NodeCredentials } from '../session/index.js';

export interface PeerListenerOptions {
  /** HOST:PORT; port 0 takes a free one. */
  readonly listenAddr: string;
  readonly clusterId: string;
  readonly credentials: NodeCredentials;
  readonly images: PeerServerOptions['images'];
  readonly clock: Clock;
}

/** Serves image layers to the other agents of the cluster, over mutual TLS. */
export class PeerListener {
  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  /** @throws ClusterError `failedPrecondition` when the address cannot be bound */
  static async open(options: PeerListenerOptions): Promise<PeerListener> {
    const { listenAddr, credentials, clusterId, images, clock } = options;
    const server = new Server();
    server.addService(
      PeerService,
      peerServer({
        images,
        callerNodeId: (call) => callerOf(call, clusterId),
        verifyToken: async (token, nodeId, imageId) => {
          const payload = verifyImageToken(token, credentials.caCertPem, clock.now());
          if (payload.nodeId !== nodeId || payload.imageId !== imageId)
            throw new ClusterError(
              'permissionDenied',
              `the token is not for node ${nodeId} and image ${imageId}`,
            );
        },
      }),
    );
    const { caCertPem, keyPem, certPem } = credentials;
    const keyPair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) };
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(
        listenAddr,
        ServerCredentials.createSsl(Buffer.from(caCertPem), [keyPair], true),
        (error, bound) =>
          error
            ? reject(
                new ClusterError(
                  'failedPrecondition',
                  `peers cannot be served on ${listenAddr} (--peer-addr)`,
                  {
                    cause: error,
                  },
                ),
              )
            : resolve(bound),
      ),
    );
    return new PeerListener(server, port);
  }

  close(): void {
    this.server.forceShutdown();
  }
}

/** Any node of the cluster, by its certificate, which TLS has checked against the cluster's CA. */
function callerOf(call: ServerWritableStream<unknown, unknown>, clusterId: string): string {
  const subject = call.getAuthContext().sslPeerCertificate?.subject as unknown as
    | Readonly<Record<string, unknown>>
    | undefined;
  const { CN: nodeId, OU: unit, O: cluster } = subject ?? {};
  if (
    typeof nodeId !== 'string' ||
    cluster !== clusterId ||
    !['tessera-worker', 'tessera-manager'].includes(String(unit))
  )
    throw new ClusterError('unauthenticated', 'the caller is not a node of this cluster');
  return nodeId;
}
