import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { toServiceError } from '@tessera/shared/errors';
import type { TestAuthority } from '@tessera/shared/testing/certificates';
import {
  type AgentMessage,
  Assignments,
  DispatcherService,
  type Frame,
  ManagerMessage,
  SideStreamsService,
  type StreamRequest,
  Welcome,
} from '@tessera/shared/wire';
import type { NodeCredentials } from '../manager-channel.js';

type SessionStream = ServerDuplexStream<AgentMessage, ManagerMessage>;
type FrameStream = ServerDuplexStream<Frame, Frame>;
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

/** A manager's gRPC server over mutual TLS, as far as an agent's tests need one. */
export class FakeManager {
  readonly sessions: FakeSession[] = [];
  readonly streams: FrameStream[] = [];
  readonly #server = new Server();
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
    this.#server.addService(SideStreamsService, {
      open: (stream: FrameStream) => void this.streams.push(stream),
    });
  }

  get latest(): FakeSession | undefined {
    return this.sessions.at(-1);
  }

  async listen(credentials: NodeCredentials, addr = '127.0.0.1:0'): Promise<void> {
    const { caCertPem, keyPem, certPem } = credentials;
    const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) };
    const port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync(
        addr,
        ServerCredentials.createSsl(Buffer.from(caCertPem), [pair], true),
        (error, bound) => (error ? reject(error) : resolve(bound)),
      ),
    );
    this.addr = `127.0.0.1:${port}`;
  }

  close(): void {
    this.#server.forceShutdown();
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
