import { type IncomingMessage, type RequestOptions, request as requestPlain } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { API_VERSION_MAX } from '@tessera/shared/docker-api';
import { ApiError, CliError } from '../cli-error.js';
import type { Endpoint } from './endpoint.js';

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

interface CallOptions {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, as it is read. */
  readonly upload?: Readable;
  /** Sent to what talks to registries, as X-Registry-Auth. */
  readonly registryAuth?: string | undefined;
}

/** Speaks the Docker Engine API, and `/tessera/v1`, with one endpoint. */
export class ApiClient {
  readonly #endpoint: Endpoint;
  readonly #signal: AbortSignal;

  constructor(endpoint: Endpoint, signal: AbortSignal) {
    this.#endpoint = endpoint;
    this.#signal = signal;
  }

  /** Whether the endpoint is this host's, as far as that can be told. */
  get isLocal(): boolean {
    return this.#endpoint.kind === 'unix';
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.call<T>('GET', path, { query });
  }

  post<T>(path: string, body?: unknown, query: Query = {}): Promise<T> {
    return this.call<T>('POST', path, { query, body });
  }

  delete<T>(path: string, query: Query = {}): Promise<T> {
    return this.call<T>('DELETE', path, { query });
  }

  /** @throws ApiError what the API answered, CliError when it cannot be reached */
  async call<T>(method: string, path: string, options: CallOptions): Promise<T> {
    const response = await this.stream(method, path, options);
    const text = await readText(response);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The answer's body as it comes. Its status was a good one. */
  async stream(method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    const response = await this.#send(method, path, options);
    const status = response.statusCode ?? 0;
    if (status < 400) return response;
    throw new ApiError(status, messageOf(await readText(response)) || `status ${status}`);
  }

  /**
   * A connection that is taken over, as for attach and exec.
   *
   * @throws ApiError what the API answered instead
   */
  async hijack(path: string, options: CallOptions = {}): Promise<Duplex> {
    const answer = await this.#send('POST', path, options, true);
    if ('socket' in answer && !('statusCode' in answer)) return answer.socket;
    const response = answer as IncomingMessage;
    throw new ApiError(response.statusCode ?? 0, messageOf(await readText(response)));
  }

  #send(method: string, path: string, options: CallOptions): Promise<IncomingMessage>;
  #send(
    method: string,
    path: string,
    options: CallOptions,
    upgrade: true,
  ): Promise<IncomingMessage | { readonly socket: Duplex }>;
  async #send(
    method: string,
    path: string,
    options: CallOptions,
    upgrade = false,
  ): Promise<IncomingMessage | { readonly socket: Duplex }> {
    const endpoint = this.#endpoint;
    const common: RequestOptions = {
      method,
      path: `/v${API_VERSION_MAX}${path}${encodeQuery(options.query ?? {})}`,
      headers: {
        // A socket has no host name. Over TLS it must stay the server's: the certificate is checked against it.
        ...(endpoint.kind === 'unix' ? { Host: 'tessera' } : {}),
        'User-Agent': 'tsctl',
        ...(upgrade ? { Connection: 'Upgrade', Upgrade: 'tcp' } : {}),
        ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(options.registryAuth ? { 'X-Registry-Auth': options.registryAuth } : {}),
        ...(options.upload ? { 'Content-Type': 'application/x-tar' } : {}),
      },
      signal: this.#signal,
    };
    // Loaded only for TLS: it is a tenth of a short command's time.
    const request =
      endpoint.kind === 'unix'
        ? requestPlain({ ...common, socketPath: endpoint.socketPath })
        : (await import('node:https')).request({
            ...common,
            host: endpoint.host,
            port: endpoint.port,
            ca: endpoint.ca,
            cert: endpoint.cert,
            key: endpoint.key,
          });
    return new Promise((resolve, reject) => {
      let answered = false;
      request.on('response', (response) => {
        answered = true;
        resolve(response);
      });
      request.on('upgrade', (_, socket, head) => {
        answered = true;
        // What came behind the head of the answer is the beginning of the stream.
        if (head.length > 0) socket.unshift(head);
        resolve({ socket });
      });
      // An upload that the server refused half way breaks the connection after the answer has come.
      request.on('error', (error) => {
        if (!answered) reject(this.#signal.aborted ? (this.#signal.reason as Error) : this.#explain(error));
      });
      if (options.upload) {
        options.upload.on('error', (error) => {
          request.destroy();
          reject(new CliError(error.message));
        });
        options.upload.pipe(request);
      } else {
        request.end(options.body === undefined ? undefined : JSON.stringify(options.body));
      }
    });
  }

  #explain(error: NodeJS.ErrnoException): CliError {
    const { url } = this.#endpoint;
    switch (error.code) {
      case 'ENOENT':
      case 'ECONNREFUSED':
        return new CliError(`Cannot connect to Tessera at ${url}. Is tsd running on that host?`);
      case 'EACCES':
        return new CliError(
          `permission denied while trying to connect to Tessera at ${url}: run tsctl as root`,
        );
      default:
        return new CliError(`error during connect to ${url}: ${error.message}`);
    }
  }
}

function encodeQuery(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (Array.isArray(value)) for (const each of value) parameters.append(key, String(each));
    else if (value !== undefined) parameters.set(key, String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** Docker's `filters` parameter; undefined when there is nothing to filter by. */
export function encodeFilters(filters: Readonly<Record<string, readonly string[]>>): string | undefined {
  const given = Object.entries(filters).filter(([, values]) => values.length > 0);
  return given.length > 0 ? JSON.stringify(Object.fromEntries(given)) : undefined;
}

async function readText(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: unknown }).message ?? text);
  } catch {
    return text.trim();
  }
}
