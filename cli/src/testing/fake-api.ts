import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Clock, systemClock } from '@tessera/shared/clock';
import type { Input } from '../client/input.js';
import { run } from '../run.js';

/** Time stands still for what is shown, and waits pass a hundred times as fast. */
const HASTY: Clock = {
  now: () => Date.parse('2026-11-21T12:00:00Z'),
  monotonic: () => systemClock.monotonic() * 100,
  after: (delayMs, callback) => systemClock.after(delayMs / 100, callback),
};

const NO_INPUT: Input = {
  isTty: false,
  stream: Readable.from([]),
  size: () => undefined,
  onResize: () => () => {},
  setRaw: () => {},
};

/** What one run of tsctl came to. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Call {
  readonly method: string;
  /** Path without version, and query as it was sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  // biome-ignore lint/suspicious/noExplicitAny: it is whatever the test then looks at.
  readonly body: any;
  readonly headers: IncomingMessage['headers'];
}

type Answer = (call: Call, response: ServerResponse) => unknown;

/** An API that answers what a test says, over real HTTP on a unix socket, and remembers what it was asked. */
export class FakeApi {
  readonly calls: Call[] = [];
  readonly #answers = new Map<string, Answer>();
  #takeOver: (socket: Socket) => void = (socket) => socket.destroy();

  private constructor(
    /** Where docker's client would keep its logins. */
    readonly directory: string,
    private readonly server: Server,
    readonly host: string,
  ) {}

  static async start(): Promise<FakeApi> {
    const directory = await mkdtemp(join(tmpdir(), 'tsctl-'));
    const socketPath = join(directory, 'api.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const api = new FakeApi(directory, server, `unix://${socketPath}`);
    server.on('request', (request, response) => void api.#serve(request, response));
    server.on('upgrade', (request, socket) => {
      socket.on('error', () => {});
      const [path = '', query] = (request.url ?? '').replace(/^\/v[\d.]+/, '').split('?');
      const { headers } = request;
      api.calls.push({ method: 'UPGRADE', path, query: new URLSearchParams(query), body: '', headers });
      api.#takeOver(socket as Socket);
    });
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.directory, { recursive: true, force: true });
  }

  /**
   * @param what method and path, `GET /nodes`
   * @param answer JSON to reply, or a function that gives it or writes to the response itself
   */
  on(what: string, answer: Answer | object | string): this {
    this.#answers.set(what, typeof answer === 'function' ? (answer as Answer) : () => answer);
    return this;
  }

  /** What becomes of connections that are taken over. */
  onUpgrade(takeOver: (socket: Socket) => void): void {
    this.#takeOver = takeOver;
  }

  /** @param words as on the command line */
  async tsctl(...words: readonly string[]): Promise<Outcome> {
    const written = { stdout: '', stderr: '' };
    const sink = (name: 'stdout' | 'stderr') => ({
      write(content: string | Uint8Array) {
        written[name] += Buffer.from(content as Uint8Array).toString('utf8');
        return true;
      },
      once: () => undefined,
    });
    const code = await run(words, {
      stdout: sink('stdout'),
      stderr: sink('stderr'),
      env: { TSCTL_HOST: this.host, FROM_HERE: 'yes', DOCKER_CONFIG: this.directory },
      input: NO_INPUT,
      clock: HASTY,
      signal: new AbortController().signal,
    });
    return { code, ...written };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const [path = '', query] = (request.url ?? '').replace(/^\/v[\d.]+/, '').split('?');
    const isJson = request.headers['content-type'] === 'application/json';
    const call: Call = {
      method: request.method ?? '',
      path,
      query: new URLSearchParams(query),
      body: isJson ? JSON.parse(text) : text,
      headers: request.headers,
    };
    this.calls.push(call);
    const answer = this.#answers.get(`${call.method} ${call.path}`);
    if (!answer) return reply(response, 404, { message: `${call.path} not found` });
    const value = await answer(call, response);
    if (!response.writableEnded) reply(response, 200, value ?? {});
  }
}

export function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}
