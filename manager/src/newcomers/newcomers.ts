import type { Socket } from 'node:net';
import type { Clock } from '@tessera/shared/env';

/** A slow handshake over a bad line, and a join whose answer waits for the store. */
const WITHIN_MS = 30_000;
/** A few hundred MiB of TLS at worst, and more than the agents that dial anew at once when a manager has gone. */
const AT_ONCE_MAX = 4_096;

interface Newcomer {
  readonly socket: Socket;
  readonly address: string;
  readonly cancel: () => void;
}

/**
 * Connections from whom nobody knows yet. A port that anybody can reach would otherwise hold whatever is opened to it
 * for as long as it stays silent, or sends a byte a minute. Who has not said who it is in time is cut off; and when
 * there are too many, the address with the most of them loses its oldest one, so that a flood drowns itself first.
 */
export class Newcomers {
  /** By `address port`, oldest first. */
  readonly #all = new Map<string, Newcomer>();

  constructor(
    private readonly clock: Clock,
    private readonly limits = { withinMs: WITHIN_MS, atOnceMax: AT_ONCE_MAX },
  ) {}

  get count(): number {
    return this.#all.size;
  }

  /** To be called with each connection as it comes in. */
  watch(socket: Socket): void {
    const { remoteAddress: address, remotePort: port } = socket;
    if (address === undefined || port === undefined) {
      socket.destroy();
      return;
    }
    const key = keyOf(address, port);
    const cancel = this.clock.after(this.limits.withinMs, () => socket.destroy());
    this.#all.set(key, { socket, address, cancel });
    socket.once('close', () => {
      if (this.#all.get(key)?.socket === socket) this.#forget(key);
    });
    if (this.#all.size > this.limits.atOnceMax) this.#evict();
  }

  /** This one is known now, and may stay as long as it likes. May be repeated. */
  welcome(address: string, port: number): void {
    this.#forget(keyOf(address, port));
  }

  /** One that will not be known is told why, and cut off. */
  dismiss(address: string, port: number, lastWords: string): void {
    this.#all.get(keyOf(address, port))?.socket.end(lastWords);
  }

  /** Cuts off all that are still unknown. */
  close(): void {
    for (const { socket } of this.#all.values()) socket.destroy();
  }

  #forget(key: string): void {
    this.#all.get(key)?.cancel();
    this.#all.delete(key);
  }

  #evict(): void {
    const counts = new Map<string, number>();
    for (const { address } of this.#all.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    for (const [key, { socket, address }] of this.#all) {
      if (counts.get(address) !== most) continue;
      this.#forget(key);
      socket.destroy();
      return;
    }
  }
}

const keyOf = (address: string, port: number): string => `${address} ${port}`;
