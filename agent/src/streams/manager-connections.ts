import type { Socket } from 'node:net';
import type { Clock } from '@tessera/shared/env';
import { dialFrames, FrameSocket, onFirstFrame } from '@tessera/shared/frames';
import { hostOf, portOf } from '../node/addresses.js';
import { MANAGER_NAME, type NodeCredentials } from '../session/index.js';

/** Connections that wait for their next stream, of each manager: as many as a person's commands need at once. */
const IDLE_MAX = 8;
/** How long one waits: somebody at work in a container comes back within it. */
const IDLE_MS = 300_000;

/** To whom a connection leads, and as whom. */
interface Purpose {
  readonly addr: string;
  readonly credentials: NodeCredentials;
}

interface Idle {
  readonly stream: FrameSocket;
  readonly purpose: Purpose;
  /** It waits no more. */
  readonly leave: () => void;
}

/**
 * Connections for side streams with managers elsewhere. Each stream has one for itself, so that a reader who stands still
 * holds up nobody else's; once it has ended well its connection waits for the next one, which saves that the handshake.
 * It costs most of what a small question costs.
 */
export class ManagerConnections {
  readonly #idle = new Set<Idle>();
  #closed = false;

  constructor(private readonly clock: Clock) {}

  /** A stream on a connection that waits, or on a new one. @throws ClusterError `unavailable` */
  async open(addr: string, credentials: NodeCredentials, signal: AbortSignal): Promise<FrameSocket> {
    const purpose = { addr, credentials };
    // The one used last: what is not needed is left alone until its time is over.
    const idle = [...this.#idle].reverse().find((each) => isUsable(each, purpose));
    if (idle) {
      idle.leave();
      return idle.stream;
    }
    const onFree = (socket: Socket) => this.#wait(socket, purpose);
    const dialled = { host: hostOf(addr), port: portOf(addr), serverName: MANAGER_NAME };
    return dialFrames({ ...dialled, identity: credentials, clock: this.clock, onFree }, signal);
  }

  close(): void {
    this.#closed = true;
    for (const { stream } of this.#idle) stream.destroy();
  }

  #wait(socket: Socket, purpose: Purpose): void {
    const onFree = (free: Socket) => this.#wait(free, purpose);
    const stream = new FrameSocket(socket, { clock: this.clock, onFree });
    const drop = () => stream.destroy();
    // A manager says nothing before it is asked for a stream's next word.
    const giveUp = onFirstFrame(stream, drop);
    const cancel = this.clock.after(IDLE_MS, drop);
    const leave = () => {
      giveUp();
      cancel();
      stream.off('end', drop).off('close', leave);
      this.#idle.delete(idle);
    };
    const idle = { stream, purpose, leave };
    stream.once('end', drop).once('close', leave);
    this.#idle.add(idle);
    const waiting = [...this.#idle].filter((each) => each.purpose.addr === purpose.addr);
    if (this.#closed || waiting.length > IDLE_MAX) drop();
  }
}

/** A certificate that has been renewed is used from the next stream on. */
const isUsable = ({ stream, purpose }: Idle, { addr, credentials }: Purpose): boolean =>
  !stream.destroyed &&
  purpose.addr === addr &&
  purpose.credentials.certPem === credentials.certPem &&
  purpose.credentials.keyPem === credentials.keyPem &&
  purpose.credentials.caCertPem === credentials.caCertPem;
