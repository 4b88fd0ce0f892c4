import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { closeSync } from 'node:fs';
import { Socket as TcpSocket } from 'node:net';
import { type Netns, openNetns, openSocket } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { Outside } from './forwarder.js';

/** The network as a namespace sees it; IPv4 alone. Keeps the namespace until it is closed. */
export class NetnsOutside implements Outside {
  #netns: Netns | undefined;

  /** @param path of the namespace. @throws NativeCallError `notFound` when it is gone */
  constructor(path: string) {
    this.#netns = openNetns(path);
  }

  udp(): UdpSocket {
    const socket = createSocket('udp4');
    socket.bind({ fd: openSocket(this.#open(), 'udp', { bind: '0.0.0.0' }).fd, exclusive: true });
    return socket;
  }

  tcp(server: string, port: number): TcpSocket {
    return new TcpSocket({ fd: openSocket(this.#open(), 'tcp', { connect: server, port }).fd });
  }

  /** May be repeated. Sockets that are open live on. */
  close(): void {
    if (this.#netns !== undefined) closeSync(this.#netns);
    this.#netns = undefined;
  }

  /** A question may be under way still; the descriptor's number may be another's by then. */
  #open(): Netns {
    if (this.#netns === undefined) throw new ClusterError('aborted', 'the container has ended');
    return this.#netns;
  }
}
