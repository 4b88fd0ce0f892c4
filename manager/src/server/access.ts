import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ClusterError } from '@tessera/shared/errors';
import { UNITS } from '../ca/index.js';

/**
 * Who may use the API: whoever can open the unix socket, and over TLS whoever shows a client certificate of the
 * cluster's CA. Certificates of nodes are refused, whatever is asked for: a worker that is taken over must not become
 * an administrator.
 *
 * @throws ClusterError `unauthenticated` without a valid certificate, `permissionDenied` with one of another unit
 */
export function authorize(socket: Socket): void {
  if (!(socket instanceof TLSSocket)) {
    // A unix socket has no remote address. Plain TCP is never listened on; refuse it here all the same.
    if (socket.remoteAddress === undefined) return;
    throw new ClusterError('unauthenticated', 'the API is served on a unix socket or over TLS only');
  }
  const { subject } = socket.getPeerCertificate() as { subject?: { OU?: string | string[] } };
  // A session of TLS 1.3 that is taken up again counts as authorized even where no certificate was ever shown.
  if (!socket.authorized || !subject) {
    throw new ClusterError(
      'unauthenticated',
      "show a client certificate that this cluster's CA has issued: tsctl cluster certificate NAME",
    );
  }
  const unit = subject.OU;
  // A certificate with two units is none of ours.
  if (unit === UNITS.client) return;
  throw new ClusterError(
    'permissionDenied',
    `certificates of unit '${String(unit ?? '')}' may not use the API; it takes one of unit '${UNITS.client}'`,
  );
}

/** Whether `authorize` lets this connection's requests pass. */
export function isUser(socket: Socket): boolean {
  try {
    authorize(socket);
    return true;
  } catch {
    return false;
  }
}
