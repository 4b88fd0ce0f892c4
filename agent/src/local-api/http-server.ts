import { chmodSync, chownSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import type { Logger } from '@tessera/shared/env';
import { ClusterError, errorText, invalid, wireCodes } from '@tessera/shared/errors';

/** Bodies here are a few addresses and a token. */
const BODY_MAX_BYTES = 64 * 1024;

export interface Request {
  readonly method: string;
  /** Without query, and without Docker's version prefix. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The JSON body; undefined when there is none. */
  readonly body: unknown;
}

export interface Reply {
  readonly status: number;
  /** A string is sent as it is, anything else as JSON; undefined sends no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Handler = (request: Request) => Reply | Promise<Reply>;

/** HTTP on a unix socket whose name may pass to another process, and back, without a gap. */
export class SocketServer {
  #server: Server | undefined;
  #count = 0;

  constructor(
    private readonly options: {
      readonly path: string;
      readonly handler: Handler;
      /** Whose members may open it too; undefined: root's alone. */
      readonly groupId?: number | undefined;
      /** On every reply. */
      readonly headers: Readonly<Record<string, string>>;
      readonly logger: Logger;
    },
  ) {}

  get listening(): boolean {
    return this.#server !== undefined;
  }

  /** Takes the socket's name, from whoever had it. May be repeated. */
  async listen(): Promise<void> {
    if (this.#server) return;
    const { path } = this.options;
    mkdirSync(dirname(path), { recursive: true });
    // Bound under another name and renamed: whoever connects reaches the old server or the new one. (It also
    // keeps libuv, which unlinks the name it bound, from unlinking our successor's.)
    const temporary = join(dirname(path), `.tsd.${process.pid}.${++this.#count}.sock`);
    rmSync(temporary, { force: true });
    const server = createServer((request, response) => void this.#serve(request, response));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(temporary, () => resolve());
    });
    // Whoever reaches this socket is root on this host, as with Docker's.
    const { groupId } = this.options;
    if (groupId !== undefined) chownSync(temporary, 0, groupId);
    chmodSync(temporary, groupId === undefined ? 0o600 : 0o660);
    renameSync(temporary, path);
  }

  /** Takes no more connections; replies under way are finished. The name stays to whoever took it. */
  close(): void {
    this.#server?.close();
    this.#server?.closeIdleConnections();
    this.#server = undefined;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { handler, headers, logger } = this.options;
    let reply: Reply;
    try {
      reply = await handler(await parse(request));
    } catch (error) {
      const status = wireCodes(error).http;
      if (!(error instanceof ClusterError)) logger.error({ error, url: request.url }, 'request failed');
      reply = { status, body: { message: errorText(error) } };
    }
    const text =
      reply.body === undefined || typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
    response.writeHead(reply.status, {
      ...headers,
      ...(text !== undefined && typeof reply.body !== 'string' && { 'Content-Type': 'application/json' }),
      // A kept connection would hold on to us when another process serves this name.
      Connection: 'close',
      ...reply.headers,
    });
    response.end(request.method === 'HEAD' ? undefined : text);
  }
}

async function parse(request: IncomingMessage): Promise<Request> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_MAX_BYTES) throw invalid(`the request's body is larger than ${BODY_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8').trim();
  return {
    method: request.method ?? 'GET',
    path: url.pathname.replace(/^\/v\d+\.\d+(?=\/)/, ''),
    query: url.searchParams,
    body: text ? parseJson(text) : undefined,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`the request's body is not valid JSON: ${(error as Error).message}`);
  }
}
