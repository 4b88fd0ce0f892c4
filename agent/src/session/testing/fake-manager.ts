import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server as TlsServer } from 'node:tls';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { systemClock } from '@tessera/shared/env';
import { toServiceError } from '@tessera/shared/errors';
import { FRAMES_PROTOCOL, FrameSocket } from '@tessera/shared/frames';
import type { TestAuthority } from '@tessera/shared/testing/certificates';
import {
  type AgentMessage,
  Assignments,
  DispatcherService,
  ManagerMessage,
  type StreamRequest,
  Welcome,
} from '@tessera/shared/wire';
import type { NodeCredentials } from '../manager-channel.js';

type SessionStream = ServerDuplexStream<AgentMessage, ManagerMessage>;
type Body = NonNullable<ManagerMessage['body']>;

/** A session as the fake manager sees it: what came, and what is said back. */
export class FakeSession {
  readonly received: NonNullable<AgentMessage['body']>[] = [];
  ended = false;

  constructor(private readonly stream: SessionStream) {
    stream.on('data', ({ body }: AgentMessage) => body && this.received.push(body));
    stream.on('end', () => {
      this.ended = true;
      stream.end();
    });
    stream.on('cancelled', () => {
      this.ended = true;
    });
    stream.on('error', () => {
      this.ended = true;
    });
  }

  of<K extends NonNullable<AgentMessage['body']>['$case']>(
    kind: K,
  ): Extract<NonNullable<AgentMessage['body']>, { $case: K }>['value'][] {
    return this.received.flatMap((body) => (body.$case === kind ? [body.value as never] : []));
  }

  send(body: Body): void {
    this.stream.write(ManagerMessage.fromPartial({ body } as never));
  }

  welcome(part: Partial<Welcome> = {}): void {
    this.send({
      $case: 'welcome',
      value: Welcome.fromPartial({
        sessionId: 'session-1',
        clusterId: 'cluster-1',
        incarnation: 1,
        heartbeatPeriodMs: 1_000,
        ...part,
      } as never),
    });
  }

  assign(part: Partial<Assignments>): void {
    this.send({ $case: 'assignments', value: Assignments.fromPartial({ complete: true, ...part } as never) });
  }

  request(request: StreamRequest): void {
    this.send({ $case: 'streamRequest', value: request });
  }

  fail(error: unknown): void {
    this.stream.emit('error', toServiceError(error));
  }
}

/** A manager's port, gRPC and frames over mutual TLS, as far as an agent's tests need one. */
export class FakeManager {
  readonly sessions: FakeSession[] = [];
  readonly streams: FrameSocket[] = [];
  /** Of frames, whichever streams they carried. */
  connectionCount = 0;
  readonly #server = new Server();
  #listener: TlsServer | undefined;
  readonly #sockets = new Set<Socket>();
  addr = '';

  constructor(private readonly options: { readonly onSession?: (session: FakeSession) => void } = {}) {
    this.#server.addService(DispatcherService, {
      session: (stream: SessionStream) => {
        const session = new FakeSession(stream);
        this.sessions.push(session);
        this.options.onSession?.(session);
      },
      locateImage: () => undefined,
    });
  }

  get latest(): FakeSession | undefined {
    return this.sessions.at(-1);
  }

  async listen(credentials: NodeCredentials, addr = '127.0.0.1:0'): Promise<void> {
    const { caCertPem: ca, keyPem: key, certPem: cert } = credentials;
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const alpn = { ALPNProtocols: ['h2', FRAMES_PROTOCOL] };
    const listener = createServer({ ca, key, cert, requestCert: true, ...alpn }, (socket) => {
      socket.on('error', () => undefined);
      if (socket.alpnProtocol !== FRAMES_PROTOCOL) return injector.injectConnection(socket);
      this.connectionCount++;
      this.#takeStream(socket);
    });
    // Down to the last connection, as a manager's end would be.
    listener.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#listener = listener;
    const [host = '', port = ''] = addr.split(':');
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject).listen({ host, port: Number(port) }, resolve);
    });
    this.addr = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#listener?.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const stream of this.streams) stream.destroy();
    this.#server.forceShutdown();
  }

  /** One at a time: the next one on the connection is listed once its first frame has come. */
  #takeStream(socket: Socket): void {
    const stream = new FrameSocket(socket, { clock: systemClock, onFree: (free) => this.#takeStream(free) });
    stream.on('error', () => undefined);
    stream.once('readable', () => this.streams.push(stream));
  }
}

/** A node's credentials as its files hold them. */
export async function credentialsOf(
  authority: TestAuthority,
  role: 'worker' | 'manager',
  nodeId: string,
): Promise<NodeCredentials> {
  return { ...(await authority.issue({ nodeId, role })), caCertPem: authority.caCertPem };
}
