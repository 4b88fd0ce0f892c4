import type { IncomingMessage, ServerResponse } from 'node:http';
import { API_HEADERS, API_VERSION_MAX, API_VERSION_MIN } from '@tessera/shared/docker-api';
import type { Logger } from '@tessera/shared/env';
import { ClusterError, errorText, invalid, isCancelled, wireCodes } from '@tessera/shared/errors';
import { authorize } from './access.js';
import type { ApiRequest, Reply, Route, StreamReply } from './route.js';
import { Router } from './router.js';

/** The largest JSON body that is read: etcd refuses objects of 1.5 MiB. */
const BODY_BYTES_MAX = 1024 * 1024;
const VERSION_PREFIX = /^\/v(\d+)\.(\d+)(?=\/)/;

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Serves routes over Node's http, on as many listeners as one likes. */
export function serveRoutes(routes: readonly Route[], logger: Logger): RequestHandler {
  const router = new Router(routes);
  return (request, response) => {
    serve(router, request, response).catch((error: unknown) => fail(request, response, error, logger));
  };
}

async function serve(router: Router, request: IncomingMessage, response: ServerResponse): Promise<void> {
  for (const [name, value] of Object.entries(API_HEADERS)) response.setHeader(name, value);
  authorize(request.socket);

  const { path, query, version } = parseTarget(request.url ?? '/');
  const method = request.method ?? 'GET';
  const found = router.find(method, path);
  if (!found.route) {
    throw new ClusterError(
      'notFound',
      found.methods.length > 0 ? `${path} cannot be asked for by ${method}` : 'page not found',
    );
  }
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) {
      controller.abort(new ClusterError('cancelled', 'the client has gone away'));
    }
  });
  const common = {
    method,
    path,
    version,
    params: found.params,
    query,
    headers: request.headers,
    signal: controller.signal,
  };
  const { route } = found;
  if (route.kind === 'upload') {
    // A handler that stops reading must not tear the connection down: its answer is still to go out.
    const content = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    await sendStream(response, await route.handle({ ...common, content }), controller.signal);
    request.resume();
    return;
  }
  const parsed: ApiRequest = { ...common, body: await readJson(request) };
  if (route.kind === 'stream') await sendStream(response, await route.handle(parsed), controller.signal);
  else send(response, method, await route.handle(parsed));
}

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
    if (length > BODY_BYTES_MAX) throw invalid(`the request's body is larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8').trim();
  if (text === '') return undefined;
  const type = request.headers['content-type'];
  // As dockerd: a browser can send a form across origins without asking, JSON it cannot.
  if (!type?.toLowerCase().startsWith('application/json')) {
    throw invalid(`unsupported Content-Type header (${type ?? ''}): must be 'application/json'`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ClusterError('invalidArgument', `the request's body is not JSON: ${errorText(error)}`);
  }
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
    response.writeHead(200, { 'Content-Type': reply.contentType });
    response.flushHeaders();
  };
  const write = async (chunk: Uint8Array | string) => {
    begin();
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
  try {
    for await (const chunk of reply.chunks) {
      if (signal.aborted) return;
      await write(chunk);
    }
  } catch (error) {
    if (signal.aborted || !response.headersSent) throw error;
    await write(reply.onError(errorText(error)));
  }
  begin();
  response.end();
}

function fail(request: IncomingMessage, response: ServerResponse, error: unknown, logger: Logger): void {
  // What is left of the body is read and dropped: a client that is still sending would not see the answer.
  request.resume();
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
