import type { Clock } from '@tessera/shared/env';
import { SideStreamsClient } from '@tessera/shared/wire';
import { managerChannelOptions, type NodeCredentials, nodeChannelCredentials } from '../session/index.js';

/** Connections that wait for their next stream, of each manager: as many as a person's commands need at once. */
const IDLE_MAX = 8;
/** How long one waits: somebody at work in a container comes back within it. */
const IDLE_MS = 300_000;

/** A connection to a manager, for one stream at a time. */
export interface ManagerConnection {
  readonly client: SideStreamsClient;
  readonly addr: string;
  readonly credentials: NodeCredentials;
}

interface Idle {
  readonly connection: ManagerConnection;
  readonly cancel: () => void;
}

/**
 * Connections for side streams. Each stream has one for itself, so that a reader who stands still holds up nobody
 * else's; once it has ended well its connection waits for the next one, which saves that the handshake. It costs most of
 * what a small question costs.
 */
export class ManagerConnections {
  readonly #idle: Idle[] = [];
  #closed = false;

  constructor(private readonly clock: Clock) {}

  /** One that waits, or a new one. It is to be given back. */
  take(addr: string, credentials: NodeCredentials): ManagerConnection {
    // The one used last: what is not needed is left alone until its time is over.
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      const { connection, cancel } = this.#idle[at]!;
      if (connection.addr !== addr || !isSame(connection.credentials, credentials)) continue;
      this.#idle.splice(at, 1);
      cancel();
      return connection;
    }
    const client = new SideStreamsClient(addr, nodeChannelCredentials(credentials), {
      ...managerChannelOptions,
      // So that a manager whose host has gone is noticed before the next stream is.
      'grpc.keepalive_permit_without_calls': 1,
    });
    return { client, addr, credentials };
  }

  /** @param isClean its stream has ended well; any other connection is closed */
  giveBack(connection: ManagerConnection, isClean: boolean): void {
    const { client, addr } = connection;
    if (!isClean || this.#closed || this.#waitingFor(addr) >= IDLE_MAX) {
      client.close();
      return;
    }
    const cancel = this.clock.after(IDLE_MS, () => this.#drop(connection));
    this.#idle.push({ connection, cancel });
  }

  close(): void {
    this.#closed = true;
    for (const { connection } of [...this.#idle]) this.#drop(connection);
  }

  #waitingFor(addr: string): number {
    return this.#idle.filter(({ connection }) => connection.addr === addr).length;
  }

  #drop(connection: ManagerConnection): void {
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at < 0) return;
    this.#idle.splice(at, 1)[0]!.cancel();
    connection.client.close();
  }
}

/** A certificate that has been renewed is used from the next stream on. */
const isSame = (a: NodeCredentials, b: NodeCredentials): boolean =>
  a.certPem === b.certPem && a.keyPem === b.keyPem && a.caCertPem === b.caCertPem;
