import { type AddressInfo, createServer } from 'node:net';
import {
  type MethodDefinition,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, isTemporary, toServiceError } from '@tessera/shared/errors';
import { Newcomers } from '../newcomers/index.js';
import type { Store } from '../store/view.js';
import { authorize, type Caller } from './caller.js';
import { METHOD_ROLES } from './roles.js';
import { NodeServerCredentials, type TlsIdentity } from './server-credentials.js';

/** A caller that has gone without a word is noticed after this and the time-out. */
const KEEPALIVE_TIME_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

export interface RpcServerOptions {
  readonly store: Store;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The manager's gRPC server over mutual TLS. Every method is served only to the roles that its table names. */
export class RpcServer {
  readonly #server = new Server({
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  });
  readonly #credentials: NodeServerCredentials;
  readonly #newcomers: Newcomers;
  /** Ours and not the library's: its own takes any number of strangers in, for ever. */
  readonly #listener = createServer();

  constructor(private readonly options: RpcServerOptions) {
    this.#credentials = new NodeServerCredentials(options.identity);
    this.#newcomers = new Newcomers(options.clock);
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

  /** @param listenAddr IP:PORT; port 0 takes a free one. @returns the port */
  listen(listenAddr: string): Promise<number> {
    const { host, port } = hostAndPort(listenAddr);
    const injector = this.#server.createConnectionInjector(this.#credentials);
    this.#listener.on('connection', (socket) => {
      this.#newcomers.watch(socket);
      injector.injectConnection(socket);
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
    this.#credentials.replace(identity);
  }

  /** Ends every connection at once; agents dial again, here or elsewhere. */
  close(): void {
    this.#listener.close();
    this.#newcomers.close();
    this.#server.forceShutdown();
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
