import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import type { Clock } from '../env/index.js';
import { ClusterError } from '../errors/index.js';
import { FrameSocket } from './frame-socket.js';

/** By it (ALPN) a connection to a manager's port carries frames instead of gRPC. */
export const FRAMES_PROTOCOL = 'tessera-frames';

/** Whoever waits for the stream waits no longer than this either. */
const DIAL_MAX_MS = 15_000;
/** An idle connection whose other host has gone is noticed some ten seconds after this. */
const KEEPALIVE_MS = 2_000;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  /** DNS name that the other end's certificate must have. */
  readonly serverName: string;
  /** PEM; a key and a certificate to prove oneself with. */
  readonly identity: {
    readonly caCertPem: string;
    readonly keyPem?: string;
    readonly certPem?: string;
  };
  readonly clock: Clock;
  readonly onFree?: (socket: Socket) => void;
}

/** A stream of frames with a manager on another host, over TLS. @throws ClusterError `unavailable` */
export function dialFrames(options: DialOptions, signal: AbortSignal): Promise<FrameSocket> {
  const { host, port, serverName, identity, clock, onFree } = options;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: serverName,
      ca: identity.caCertPem,
      ...(identity.keyPem === undefined ? {} : { key: identity.keyPem }),
      ...(identity.certPem === undefined ? {} : { cert: identity.certPem }),
      minVersion: 'TLSv1.3',
      ALPNProtocols: [FRAMES_PROTOCOL],
    });
    const giveUp = (cause?: unknown) => {
      done();
      socket.on('error', () => undefined).destroy();
      reject(new ClusterError('unavailable', `no stream with the manager at ${host}:${port}`, { cause }));
    };
    const onAbort = () => giveUp(signal.reason);
    const cancel = clock.after(DIAL_MAX_MS, giveUp);
    const done = () => {
      cancel();
      signal.removeEventListener('abort', onAbort);
      socket.off('error', giveUp);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', giveUp);
    socket.once('secureConnect', () => {
      done();
      // A keystroke does not wait for the one before it.
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEPALIVE_MS);
      resolve(new FrameSocket(socket, { clock, ...(onFree ? { onFree } : {}) }));
    });
    if (signal.aborted) onAbort();
  });
}
