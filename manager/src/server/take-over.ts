import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';

export type UpgradeHandler = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/** Node's HTTP parser of a connection, as far as it is used here. */
interface Parser {
  onIncoming: (request: IncomingMessage, shouldKeepAlive: boolean) => unknown;
}

/**
 * Hands a server's requests that take their connection over to `upgrade`, and all others to its request listener,
 * whatever their Upgrade header says.
 *
 * Node gives every request with an Upgrade header to an 'upgrade' listener and none without, whereas Docker's attach and
 * exec take the connection over with or without it. So `isTakeOver` decides instead of the header, where the parser asks
 * whether the rest of the connection is still HTTP.
 */
export function takeOver(
  server: Server | TlsServer,
  isTakeOver: (request: IncomingMessage) => boolean,
  upgrade: UpgradeHandler,
): void {
  const taken = new Set<Socket>();
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    taken.add(socket);
    socket.once('close', () => taken.delete(socket));
    upgrade(request, socket, head);
  });
  const onConnection = (socket: Socket & { parser?: Parser; _httpMessage?: ServerResponse | null }) => {
    const { parser } = socket;
    if (!parser) return;
    const { onIncoming } = parser;
    parser.onIncoming = (request, shouldKeepAlive) => {
      // Behind an answer under way there is no connection to be had.
      const isFree = !socket._httpMessage;
      (request as IncomingMessage & { upgrade: boolean }).upgrade = isFree && isTakeOver(request);
      return onIncoming(request, shouldKeepAlive);
    };
  };
  server.on('setSecureContext' in server ? 'secureConnection' : 'connection', onConnection);
  // The server knows nothing of them any more, yet waits for them when it is closed.
  const closeAllConnections = server.closeAllConnections.bind(server);
  server.closeAllConnections = () => {
    closeAllConnections();
    for (const socket of taken) socket.destroy();
  };
}
