import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createConnection, isIPv6, type Socket as TcpSocket } from 'node:net';
import type { Clock } from '@tessera/shared/env';

/** How the host's network is reached. Tests hand in sockets of another namespace. */
export interface Outside {
  udp(server: string): UdpSocket;
  tcp(server: string, port: number): TcpSocket;
}

export const ownOutside: Outside = {
  udp: (server) => createSocket(isIPv6(server) ? 'udp6' : 'udp4'),
  tcp: (server, port) => createConnection({ host: server, port }),
};

export interface Upstream {
  readonly host: string;
  readonly port: number;
  /** The network it is asked from; undefined: the host's. */
  readonly outside?: Outside;
}

/** A server that has not answered by then is passed over. */
const TRY_MS = 2_000;
/** Questions under way at once, over all containers; more are answered SERVFAIL. */
const UNDER_WAY_MAX = 512;

/** Asks resolvers one after the other, from the host's network where nothing else is said. */
export class DnsForwarder {
  #underWay = 0;

  constructor(
    private readonly clock: Clock,
    private readonly outside: Outside = ownOutside,
  ) {}

  /** The first answer any server gives; undefined when none does. The question's id is kept. */
  async ask(
    query: Buffer,
    transport: 'udp' | 'tcp',
    servers: readonly Upstream[],
  ): Promise<Buffer | undefined> {
    if (this.#underWay >= UNDER_WAY_MAX) return undefined;
    this.#underWay++;
    try {
      for (const server of servers) {
        const asked = transport === 'udp' ? this.#askUdp(query, server) : this.#askTcp(query, server);
        // Without a socket there it is as good as silent.
        const answer = await asked.catch(() => undefined);
        if (answer) return answer;
      }
      return undefined;
    } finally {
      this.#underWay--;
    }
  }

  /** A socket, and so a source port, of its own for each question: answers are hard to forge. */
  #askUdp(query: Buffer, { host, port, outside = this.outside }: Upstream): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const socket = outside.udp(host);
      const finish = (answer?: Buffer) => {
        cancel();
        socket.removeAllListeners();
        socket.on('error', () => {});
        socket.close();
        resolve(answer);
      };
      const cancel = this.clock.after(TRY_MS, () => finish());
      socket.on('error', () => finish());
      socket.on('message', (message) => {
        if (isAnswerTo(query, message)) finish(message);
      });
      // Connected, it hears of nobody else, and at once when nobody listens there or no way leads there.
      socket.connect(port, host, (error?: Error) => {
        if (error) finish();
        else socket.send(query, (failure) => failure && finish());
      });
    });
  }

  #askTcp(query: Buffer, { host, port, outside = this.outside }: Upstream): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const socket = outside.tcp(host, port);
      let received = Buffer.alloc(0);
      const finish = (answer?: Buffer) => {
        cancel();
        socket.destroy();
        resolve(answer);
      };
      const cancel = this.clock.after(TRY_MS, () => finish());
      socket.on('error', () => finish());
      socket.on('close', () => finish());
      socket.on('data', (data: Buffer) => {
        received = Buffer.concat([received, data]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
        const answer = received.subarray(2, 2 + received.readUInt16BE(0));
        finish(isAnswerTo(query, answer) ? answer : undefined);
      });
      socket.write(frame(query));
    });
  }
}

const isAnswerTo = (query: Buffer, message: Buffer): boolean =>
  message.length >= 12 &&
  message.readUInt16BE(0) === query.readUInt16BE(0) &&
  (message.readUInt8(2) & 0x80) !== 0;

/** A message as TCP carries it: two bytes of length before it. Source: RFC 1035, 4.2.2. */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** The `nameserver` lines of a resolv.conf. Source: resolv.conf(5). */
export function parseResolvConf(text: string): Upstream[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+([0-9a-fA-F:.]+)\s*$/.exec(line)?.[1])
    .filter((host): host is string => host !== undefined)
    .map((host) => ({ host, port: 53 }));
}

const REREAD_MS = 5_000;

/** The host's resolvers, read again every few seconds at most: DHCP changes them. */
export class HostResolvers {
  #servers: readonly Upstream[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly clock: Clock,
    private readonly path = '/etc/resolv.conf',
  ) {}

  get(): readonly Upstream[] {
    if (this.clock.monotonic() - this.#readAtMs < REREAD_MS) return this.#servers;
    this.#readAtMs = this.clock.monotonic();
    try {
      this.#servers = parseResolvConf(readFileSync(this.path, 'utf8'));
    } catch {
      // None to ask: what is not ours is answered SERVFAIL.
      this.#servers = [];
    }
    return this.#servers;
  }
}
