import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, isTemporary, toServiceError } from '@tessera/shared/errors';
import { FRAMES_PROTOCOL } from '@tessera/shared/frames';
import { Newcomers } from '../newcomers/index.js';
import type { Store } from '../store/view.js';
import { authorize, type Caller, nodeOf } from './caller.js';
import { METHOD_ROLES } from './roles.js';
import { serverContextOf, type TlsIdentity } from './tls-identity.js';

/** A caller that has gone without a word is noticed after this and the time-out. */
const KEEPALIVE_TIME_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

export interface RpcServerOptions {
  readonly store: Store;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Serves a connection of frames. `authorize` tells which node's it is, as of now. */
export type FramesHandler = (socket: TLSSocket, authorize: () => Promise<Caller>) => void;

/**
 * The manager's port: gRPC over mutual TLS, and frames to whoever asks TLS for them. Every method is served only to the
 * roles that its table names, frames to nodes.
 */
export class RpcServer {
  readonly #server = new Server({
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  });
  readonly #newcomers: Newcomers;
  /** Ours and not the library's: its own takes any number of strangers in, for ever, and knows no other protocol. */
  readonly #listener: TlsServer;
  readonly #frameSockets = new Set<TLSSocket>();
  #serveFrames: FramesHandler | undefined;

  constructor(private readonly options: RpcServerOptions) {
    this.#newcomers = new Newcomers(options.clock);
    this.#listener = createServer({
      ...serverContextOf(options.identity),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2', FRAMES_PROTOCOL],
    });
  }

  /** Serves a method without streams. `caller` is undefined only for methods open to everyone. */
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    handle: (request: Request, caller: Caller | undefined) => Promise<Response>,
  ): void {
    const serve = (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
      this.#authorize(method.path, call)
        .then((caller) => handle(call.request, caller))
        .then(
          (response) => reply(null, response),
          (error: unknown) => reply(this.#refusal(method.path, error)),
        );
    };
    this.#register(method, serve, 'unary');
  }

  /**
   * Serves a method with a stream each way.
   *
   * @param refuse may answer a refused caller in the method's own words; by default it gets the error
   */
  duplex<Request, Response>(
    method: MethodDefinition<Request, Response>,
    handle: (stream: ServerDuplexStream<Request, Response>, caller: Caller) => void,
    refuse?: (stream: ServerDuplexStream<Request, Response>, error: unknown) => boolean,
  ): void {
    const serve = (stream: ServerDuplexStream<Request, Response>) => {
      // A stream that breaks before its handler looks must not take the process down.
      stream.on('error', () => {});
      this.#authorize(method.path, stream).then(
        (caller) => {
          if (caller) handle(stream, caller);
          else stream.emit('error', this.#refusal(method.path, new Error('open streams are not served')));
        },
        (error: unknown) => {
          if (!refuse?.(stream, error)) stream.emit('error', this.#refusal(method.path, error));
        },
      );
    };
    this.#register(method, serve, 'bidi');
  }

  /** Serves connections that carry frames. */
  frames(handle: FramesHandler): void {
    this.#serveFrames = handle;
  }

  /** @param listenAddr IP:PORT; port 0 takes a free one. @returns the port */
  listen(listenAddr: string): Promise<number> {
    const { host, port } = hostAndPort(listenAddr);
    // TLS is done with by then; gRPC finds the caller's certificate on the socket.
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#listener.on('connection', (socket) => this.#newcomers.watch(socket));
    this.#listener.on('secureConnection', (socket) => {
      // Who breaks a connection hears of it by its end.
      socket.on('error', () => {});
      if (socket.alpnProtocol === FRAMES_PROTOCOL) this.#takeFrames(socket);
      else injector.injectConnection(socket);
    });
    return new Promise((resolve, reject) => {
      this.#listener.once('error', (cause) =>
        reject(new ClusterError('unavailable', `cannot listen on ${listenAddr}`, { cause })),
      );
      this.#listener.listen({ host, port }, () => resolve((this.#listener.address() as AddressInfo).port));
    });
  }

  /** Serves new connections with a renewed certificate. */
  replaceIdentity(identity: TlsIdentity): void {
    this.#listener.setSecureContext(serverContextOf(identity));
  }

  /** Ends every connection at once; agents dial again, here or elsewhere. */
  close(): void {
    this.#listener.close();
    this.#newcomers.close();
    for (const socket of this.#frameSockets) socket.destroy();
    this.#server.forceShutdown();
  }

  #takeFrames(socket: TLSSocket): void {
    // Nothing is read of what a stranger says, not even to refuse it in words.
    if (!socket.authorized) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_TIME_MS);
    this.#frameSockets.add(socket);
    socket.once('close', () => this.#frameSockets.delete(socket));
    const { remoteAddress = '', remotePort = 0 } = socket;
    const context = { sslPeerCertificate: socket.getPeerCertificate() };
    this.#serveFrames?.(socket, async () => {
      const caller = await nodeOf(context, this.options.store);
      this.#newcomers.welcome(remoteAddress, remotePort);
      return caller;
    });
  }

  #register<Request, Response>(
    method: MethodDefinition<Request, Response>,
    serve: unknown,
    type: 'unary' | 'bidi',
  ): void {
    if (!METHOD_ROLES.has(method.path)) throw new Error(`${method.path} has no role in the table`);
    const { path, responseSerialize, requestDeserialize } = method;
    this.#server.register(path, serve as never, responseSerialize, requestDeserialize, type);
  }

  async #authorize(
    path: string,
    call: { getAuthContext(): Parameters<typeof authorize>[1]; getPeer(): string },
  ): Promise<Caller | undefined> {
    const caller = await authorize(path, call.getAuthContext(), this.options.store);
    if (caller) {
      const { host, port } = hostAndPort(call.getPeer());
      this.#newcomers.welcome(host, port);
    }
    return caller;
  }

  #refusal(path: string, error: unknown) {
    if (!(error instanceof ClusterError))
      this.options.logger.error({ method: path, error }, 'a call failed in a way nobody expected');
    else if (!isTemporary(error)) this.options.logger.info({ method: path, error }, 'a call was refused');
    return toServiceError(error);
  }
}

/** Of `IP:PORT`; one of version 6 may stand in brackets, and does not where Node names a peer. */
function hostAndPort(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(at + 1)) };
}
