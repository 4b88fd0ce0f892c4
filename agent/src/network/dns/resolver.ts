import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger, Random } from '@tessera/shared/env';
import { encodeAnswer, judge, type NameView, parseQuery, serverFailure } from './answer.js';
import { type DnsForwarder, frame, type Upstream } from './forwarder.js';

export interface ResolverOptions {
  /** What the container may ask about, at the moment of the question. */
  readonly view: () => NameView;
  /** Whom to ask about the rest; none: SERVFAIL, as on internal networks. */
  readonly upstreams: () => readonly Upstream[];
  readonly forwarder: DnsForwarder;
  readonly random: Random;
  readonly logger: Logger;
}

/** Connections a container may have open here; the next is closed. */
const CONNECTIONS_MAX = 64;
const CONNECTION_IDLE_MS = 10_000;

/** Answers one container at its 127.0.0.11, on sockets that were opened inside its namespace. */
export class ContainerResolver {
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();

  private constructor(private readonly options: ResolverOptions) {
    this.#udp = createSocket({ type: 'udp4' });
    this.#udp.on('message', (message, from) => void this.#onDatagram(message, from));
    // An asker that has gone shows as an error of the next call on the socket; it concerns nobody else.
    this.#udp.on('error', (error) => options.logger.debug({ error }, 'resolver socket'));
    this.#tcp = createServer((socket) => this.#onConnection(socket));
    this.#tcp.maxConnections = CONNECTIONS_MAX;
    this.#tcp.on('error', (error) => options.logger.warn({ error }, 'resolver stopped taking connections'));
  }

  /** Takes the descriptors over. */
  static async open(
    sockets: { readonly udpFd: number; readonly tcpFd: number },
    options: ResolverOptions,
  ): Promise<ContainerResolver> {
    const resolver = new ContainerResolver(options);
    await Promise.all([
      new Promise<void>((resolve) =>
        resolver.#udp.bind({ fd: sockets.udpFd, exclusive: true }, () => resolve()),
      ),
      new Promise<void>((resolve) =>
        resolver.#tcp.listen({ fd: sockets.tcpFd, exclusive: true }, () => resolve()),
      ),
    ]);
    resolver.#udp.unref();
    resolver.#tcp.unref();
    return resolver;
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
    for (const connection of this.#connections) connection.destroy();
  }

  async #onDatagram(message: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#answer(message, 'udp');
    if (answer) this.#udp.send(answer, from.port, from.address, () => {});
  }

  #onConnection(socket: Socket): void {
    this.#connections.add(socket);
    let received = Buffer.alloc(0);
    socket.unref();
    socket.setTimeout(CONNECTION_IDLE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const message = received.subarray(2, end);
        received = received.subarray(end);
        void this.#answer(message, 'tcp').then((answer) => {
          if (answer && !socket.destroyed) socket.write(frame(answer));
        });
      }
    });
  }

  async #answer(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const query = parseQuery(message);
    if (!query) return undefined;
    const { view, upstreams, forwarder, random, logger } = this.options;
    try {
      const verdict = judge(query, view(), random);
      if (verdict.kind === 'answer') return encodeAnswer(query, verdict, transport);
      const answer = await forwarder.ask(message, transport, upstreams());
      return answer ?? serverFailure(query, transport);
    } catch (error) {
      logger.warn({ error }, 'question could not be answered');
      return serverFailure(query, transport);
    }
  }
}
