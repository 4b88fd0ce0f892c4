import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { API_HEADERS } from '@tessera/shared/docker-api';
import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { Connection, Hijack } from './route.js';

/** What is left unread when a stream ends is waited for so long; closing earlier would cost the client its last bytes. */
const LINGER_MS = 5_000;
/**
 * docker-py reads the head through a buffer, and the stream past that buffer: what comes together with the head is lost
 * to it. dockerd takes so long to start a command that it never happens there; these clients are given that time.
 */
const LOSES_WHAT_COMES_WITH_THE_HEAD = /docker-(sdk-python|py)\//;
const AFTER_HEAD_MS = 100;
const RAW_STREAM = 'application/vnd.docker.raw-stream';
const MESSAGE_BYTES_MAX = 1024 * 1024;

const webSockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES_MAX,
});

/** Sends the head that takes a raw connection over, and serves it to its end. Source: moby api/server/router/container. */
export async function serveRaw(
  request: IncomingMessage,
  socket: Socket,
  hijack: Hijack,
  clock: Clock,
  logger: Logger,
): Promise<void> {
  const isUpgrade = request.headers.upgrade !== undefined;
  const head = isUpgrade
    ? ['HTTP/1.1 101 UPGRADED', `Content-Type: ${hijack.contentType}`, 'Connection: Upgrade', 'Upgrade: tcp']
    : ['HTTP/1.1 200 OK', `Content-Type: ${RAW_STREAM}`];
  const common = Object.entries(API_HEADERS).map(([name, value]) => `${name}: ${value}`);
  socket.write(`${[...head, ...common].join('\r\n')}\r\n\r\n`);
  if (LOSES_WHAT_COMES_WITH_THE_HEAD.test(request.headers['user-agent'] ?? ''))
    await delay(clock, AFTER_HEAD_MS, new AbortController().signal);
  await serveStream(socket, hijack, logger);
  await linger(socket, clock);
}

/** The same over a WebSocket: what is written goes as binary messages. */
export async function serveWebSocket(
  request: IncomingMessage,
  socket: Socket,
  hijack: Hijack,
  logger: Logger,
): Promise<void> {
  await new Promise<void>((resolve) => {
    webSockets.handleUpgrade(request, socket, Buffer.alloc(0), (client) => {
      const stream = createWebSocketStream(client, { allowHalfOpen: true });
      stream.on('error', () => {});
      void serveStream(stream, hijack, logger).then(() => {
        client.close(1000);
        resolve();
      });
    });
    // Refused by the library, in words of its own.
    socket.once('close', () => resolve());
  });
}

async function serveStream(stream: Duplex, hijack: Hijack, logger: Logger): Promise<void> {
  const connection = connectionOf(stream);
  try {
    await hijack.serve(connection);
  } catch (error) {
    logger.debug({ error }, 'a stream ended with an error');
    if (hijack.onError && stream.writable) await connection.write(hijack.onError(errorText(error)));
  }
}

function connectionOf(stream: Duplex): Connection {
  return {
    input: stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>,
    write: async (chunk) => {
      if (stream.destroyed || !stream.writable || stream.write(chunk)) return;
      await new Promise<void>((resolve) => {
        const done = () => {
          stream.off('drain', done);
          stream.off('close', done);
          resolve();
        };
        stream.once('drain', done);
        stream.once('close', done);
      });
    },
  };
}

function linger(socket: Socket, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    const cancel = clock.after(LINGER_MS, () => socket.destroy());
    socket.once('close', () => {
      cancel();
      resolve();
    });
    // With both ways ended it closes by itself; what the client still sends is dropped until then.
    socket.end();
    socket.resume();
  });
}
