import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { API_HEADERS, API_VERSION_MAX, API_VERSION_MIN } from '@tessera/shared/docker-api';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, errorText, invalid, isCancelled, wireCodes } from '@tessera/shared/errors';
import { authorize } from './access.js';
import { isLendable, lendableForAnswer, uploadOf } from './client-connection.js';
import { serveRaw, serveWebSocket } from './hijacked.js';
import { BODY_BYTES_MAX, hasBody, parseJsonBody, readBodyOf, tooLarge } from './request-body.js';
import type { ApiRequest, Reply, Route, StreamReply } from './route.js';
import { decoded, type Match, Router } from './router.js';
import { takeOver } from './take-over.js';

const VERSION_PREFIX = /^\/v(\d+)\.(\d+)(?=\/)/;

/** A request listener for servers that have been prepared for it. */
export interface RequestHandler {
  (request: IncomingMessage, response: ServerResponse): void;
  /** To be called once for each server, so that requests which take their connection over come here as well. */
  readonly prepare: (server: Server | TlsServer) => void;
}

/** Serves routes over Node's http, on as many listeners as one likes. */
export function serveRoutes(routes: readonly Route[], clock: Clock, logger: Logger): RequestHandler {
  const router = new Router(routes);
  const takesOver = (request: IncomingMessage): boolean => {
    const { route } = router.find(request.method ?? 'GET', pathOf(request));
    if (route?.kind === 'upload') return route.lends === true && canBeLent(request);
    return route?.kind === 'hijack' || (route?.kind === 'websocket' && request.headers.upgrade !== undefined);
  };
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    serve(router, request, response).catch((error: unknown) => fail(request, response, error, logger));
  };
  const upgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    // Who breaks a connection hears of it by its end.
    socket.on('error', () => {});
    if (head.length > 0) socket.unshift(head);
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    serveTakenOver(router, request, response, socket, { clock, logger }).catch((error: unknown) => {
      answerLast(response, socket);
      fail(request, response, error, logger);
      discard(socket);
    });
  };
  return Object.assign(handle, {
    prepare: (server: Server | TlsServer) => takeOver(server, takesOver, upgrade),
  });
}

/** A request whose body others may read in place of Node's parser. */
const canBeLent = ({ socket, headers }: IncomingMessage): boolean =>
  isLendable(socket) && hasBody(headers) && headers.expect === undefined;

/** Gives a connection that has been taken over an answer, with which it ends. May be repeated. */
function answerLast(response: ServerResponse, socket: Socket): void {
  if (response.socket) return;
  response.once('finish', () => socket.end());
  response.assignSocket(socket);
}

/** Without query and version, whatever else is wrong with it. */
const pathOf = (request: IncomingMessage): string =>
  (request.url ?? '/').replace(/\?.*$/s, '').replace(VERSION_PREFIX, '');

/** Who asks for what. @throws ClusterError for whom, what or which version is not served */
function admit(
  router: Router,
  request: IncomingMessage,
  response: ServerResponse,
): { readonly found: Match; readonly common: Omit<ApiRequest, 'body' | 'signal'> } {
  for (const [name, value] of Object.entries(API_HEADERS)) response.setHeader(name, value);
  authorize(request.socket);

  const { path, query, version } = parseTarget(request.url ?? '/');
  const method = request.method ?? 'GET';
  const found = router.find(method, path);
  if (!found.route) throw new ClusterError('notFound', 'page not found');
  return {
    found,
    common: { method, path, version, params: decoded(found.params), query, headers: request.headers },
  };
}

async function serve(router: Router, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { found, common } = admit(router, request, response);
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(goneAway());
  });
  const { signal } = controller;
  const { route } = found;
  if (route.kind === 'upload') {
    // A handler that stops reading must not tear the connection down: its answer is still to go out.
    const content = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    await reply(response, common.method, await route.handle({ ...common, signal, content }), signal);
    request.resume();
    return;
  }
  if (route.kind === 'hijack' || route.kind === 'websocket')
    throw invalid(`${common.path} takes the connection over: ask for an upgrade of it`);
  const parsed: ApiRequest = { ...common, signal, body: await readJson(request) };
  if (route.kind === 'stream') {
    // Behind another answer on the same connection it would have to wait; HTTP/1.0 knows no chunks.
    const { socket } = response;
    const isFree = isLendable(socket) && request.httpVersionMinor > 0;
    const connection = isFree ? lendableForAnswer(socket) : undefined;
    await sendStream(response, await route.handle({ ...parsed, connection }), signal);
  } else send(response, common.method, await route.handle(parsed));
}

async function serveTakenOver(
  router: Router,
  request: IncomingMessage,
  response: ServerResponse,
  socket: Socket,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const { found, common } = admit(router, request, response);
  const { route } = found;
  if (route.kind !== 'hijack' && route.kind !== 'websocket' && route.kind !== 'upload')
    throw invalid('this connection is not taken over');
  const controller = new AbortController();
  socket.once('close', () => controller.abort(goneAway()));
  if (route.kind === 'upload') {
    const { signal } = controller;
    // As with any other request, who ends the connection before the answer does not want it.
    socket.once('end', () => controller.abort(goneAway()));
    const content = uploadOf(socket, request.headers);
    const answer = await route.handle({ ...common, signal, content });
    answerLast(response, socket);
    await reply(response, common.method, answer, signal);
    socket.resume();
    return;
  }
  const body = parseJsonBody(await readBodyOf(socket, request.headers), request.headers);
  const answer = await route.handle({ ...common, body, signal: controller.signal });
  if ('status' in answer) {
    answerLast(response, socket);
    send(response, common.method, answer);
    socket.resume();
  } else if (route.kind === 'websocket') await serveWebSocket(request, socket, answer, logger);
  else await serveRaw(request, socket, answer, clock, logger);
}

const goneAway = () => new ClusterError('cancelled', 'the client has gone away');

/** @throws ClusterError `invalidArgument`, in Docker's words, for a version that is not served */
export function parseTarget(target: string): { path: string; query: URLSearchParams; version: number } {
  const mark = target.indexOf('?');
  const fullPath = mark < 0 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  const prefix = VERSION_PREFIX.exec(fullPath);
  if (!prefix) return { path: fullPath, query, version: versionNumber(API_VERSION_MAX) };

  const asked = `${prefix[1]}.${prefix[2]}`;
  const version = versionNumber(asked);
  if (version < versionNumber(API_VERSION_MIN)) {
    throw invalid(
      `client version ${asked} is too old. Minimum supported API version is ${API_VERSION_MIN}, please upgrade your client to a newer version`,
    );
  }
  if (version > versionNumber(API_VERSION_MAX)) {
    throw invalid(`client version ${asked} is too new. Maximum supported API version is ${API_VERSION_MAX}`);
  }
  return { path: fullPath.slice(prefix[0].length), query, version };
}

const versionNumber = (version: string): number => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major * 100 + minor;
};

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return parseJsonBody(Buffer.concat(chunks), request.headers);
}

async function reply(
  response: ServerResponse,
  method: string,
  answer: Reply | StreamReply,
  signal: AbortSignal,
): Promise<void> {
  if ('status' in answer) send(response, method, answer);
  else await sendStream(response, answer, signal);
}

function send(response: ServerResponse, method: string, reply: Reply): void {
  for (const [name, value] of Object.entries(reply.headers ?? {})) response.setHeader(name, value);
  response.statusCode = reply.status;
  if (reply.body === undefined) {
    response.end();
    return;
  }
  const isText = typeof reply.body === 'string';
  if (!response.hasHeader('content-type')) {
    response.setHeader('Content-Type', isText ? 'text/plain; charset=utf-8' : 'application/json');
  }
  const bytes = Buffer.from(isText ? (reply.body as string) : `${JSON.stringify(reply.body)}\n`);
  response.setHeader('Content-Length', bytes.length);
  response.end(method === 'HEAD' ? undefined : bytes);
}

/** Writes no faster than the client reads. */
async function sendStream(response: ServerResponse, reply: StreamReply, signal: AbortSignal): Promise<void> {
  const begin = () => {
    if (response.headersSent) return;
    response.writeHead(200, { ...reply.headers, 'Content-Type': reply.contentType });
    response.flushHeaders();
  };
  const write = async (chunk: Uint8Array | string) => {
    begin();
    if (response.writableCorked === 0) {
      // What comes by in one turn goes out together.
      response.cork();
      setImmediate(() => response.uncork());
    }
    if (response.write(chunk)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        response.off('drain', done);
        response.off('close', done);
        resolve();
      };
      response.once('drain', done);
      response.once('close', done);
    });
  };
  if (reply.early) begin();
  try {
    if (typeof reply.chunks === 'function') {
      begin();
      // The head is on its way before anybody else writes.
      await new Promise<void>((resolve) => response.socket?.write('', () => resolve()) ?? resolve());
      await reply.chunks();
      response.end();
      return;
    }
    for await (const chunk of reply.chunks) {
      if (signal.aborted) return;
      await write(chunk);
    }
  } catch (error) {
    if (signal.aborted || !response.headersSent || !reply.onError) throw error;
    await write(reply.onError(errorText(error)));
  }
  begin();
  response.end();
}

/**
 * What is left of a body is read and dropped: a client that is still sending would not see the answer. Some handler may
 * still wait for a piece of it, and while it does, nothing flows but to a listener.
 */
const discard = (body: Readable) => body.on('data', () => undefined).resume();

function fail(request: IncomingMessage, response: ServerResponse, error: unknown, logger: Logger): void {
  discard(request);
  if (response.destroyed || response.writableEnded) return;
  const { http } = wireCodes(error);
  if (!(error instanceof ClusterError) && !isCancelled(error)) {
    logger.error({ error, method: request.method, url: request.url }, 'a request met a fault of ours');
  }
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (http === 304) {
    response.writeHead(304).end();
    return;
  }
  const bytes = Buffer.from(`${JSON.stringify({ message: errorText(error) })}\n`);
  response.writeHead(http, { 'Content-Type': 'application/json', 'Content-Length': bytes.length });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
