import { fstatSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ClusterError } from '@tessera/shared/errors';
import { ClientConnection } from '@tessera/shared/wire';
import type { Lendable, Upload } from '../streams/index.js';
import { bodyPieces } from './request-body.js';

/** Node's handle of a socket, as far as it is used here. */
interface Handle {
  readonly fd: number;
  reading: boolean;
  readStart(): void;
  readStop(): void;
}

const handleOf = (socket: Socket) => (socket as unknown as { readonly _handle?: Handle | null })._handle;

/** Whether what is on the connection is what the client says and hears: TLS has another layer between. */
export function isLendable(socket: Socket | null): socket is Socket {
  return !!socket && !(socket instanceof TLSSocket) && !socket.destroyed && (handleOf(socket)?.fd ?? -1) >= 0;
}

function placeOf(socket: Socket): Pick<ClientConnection, 'pid' | 'fd' | 'inode'> {
  const { fd = -1 } = handleOf(socket) ?? {};
  if (fd < 0) throw new ClusterError('cancelled', 'the client has gone away');
  return { pid: process.pid, fd, inode: fstatSync(fd).ino };
}

/** For an answer's body: what the client sends is still read here, so that its going is noticed. */
export const lendableForAnswer = (socket: Socket): Lendable => ({
  lend: () => ClientConnection.fromPartial(placeOf(socket)),
  takeBack() {},
});

/** The body of a request whose connection has been taken over. */
export function uploadOf(socket: Socket, headers: IncomingHttpHeaders): Upload {
  const pieces = bodyPieces(socket, headers);
  return {
    [Symbol.asyncIterator]: () => pieces,
    connection: isLendable(socket) ? lendableBody(socket, headers) : undefined,
  };
}

function lendableBody(socket: Socket, headers: IncomingHttpHeaders): Lendable {
  let head = Buffer.alloc(0);
  return {
    lend() {
      const pieces: Buffer[] = [];
      for (let piece = socket.read(); piece !== null; piece = socket.read()) pieces.push(piece as Buffer);
      head = Buffer.concat(pieces);
      stopReading(socket);
      const isChunked = headers['transfer-encoding'] !== undefined;
      const bodyBytes = isChunked ? {} : { bodyBytes: Number(headers['content-length'] ?? 0) };
      return ClientConnection.fromPartial({ ...placeOf(socket), head, ...bodyBytes });
    },
    takeBack(isUntouched) {
      if (isUntouched && head.length > 0) socket.unshift(head);
      startReading(socket);
      // The body has been read: all that can still be heard of the client is its end.
      if (!isUntouched) socket.resume();
    },
  };
}

/** Pausing a socket stops its reading only once its buffer is full; then those bytes would be missing elsewhere. */
function stopReading(socket: Socket): void {
  const handle = handleOf(socket);
  if (!handle) return;
  handle.reading = false;
  handle.readStop();
}

function startReading(socket: Socket): void {
  const handle = handleOf(socket);
  if (!handle || handle.reading) return;
  handle.reading = true;
  handle.readStart();
}
