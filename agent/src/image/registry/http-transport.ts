import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { type ProxySettings, proxyFor, TunnelAgent, throughProxy } from './proxies.js';
import type { TlsMaterial } from './tls-material.js';
import { requestName, TransportError, transportError } from './transport-errors.js';

/** As Go's client, and so dockerd: a chain longer than this is a loop. */
const REDIRECTS_MAX = 10;
/** How long a registry may take to begin its answer, connecting included. */
const ANSWER_MAX_MS = 30_000;
/** A connection over which nothing comes, or nothing is taken, for so long is given up. */
const SILENCE_MAX_MS = 30_000;
/** Layers at once, and what is asked beside them. */
const SOCKETS_MAX = 8;

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface HttpRequest {
  readonly method: HttpMethod;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
}

export interface HttpBody {
  readonly sizeBytes: number;
  /** Read once. */
  readonly content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** An answer whose body is yet to be read. Whoever has it reads it to its end, or discards it. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Of the last request, after all redirects. */
  readonly url: URL;
  readonly request: string;
  readonly body: IncomingMessage;
}

/** Gives up an answer's body. A short one is let through, so that the connection can be used again. */
export function discard({ body, headers }: HttpAnswer): void {
  // What breaks from here on concerns nobody.
  body.on('error', () => undefined);
  const isEmpty =
    body.statusCode === 204 || body.statusCode === 304 || (body as Asked).req?.method === 'HEAD';
  const sizeBytes = Number(headers['content-length'] ?? Number.POSITIVE_INFINITY);
  if (isEmpty || sizeBytes <= DRAINED_BYTES_MAX) body.resume();
  else body.destroy();
}
type Asked = { readonly req?: { readonly method?: string } };
const DRAINED_BYTES_MAX = 64 * 1024;

export interface HttpTransportOptions {
  readonly clock: Clock;
  /** For connections to that host (with its port); undefined: unverified. */
  readonly tls: (host: string) => Promise<TlsMaterial | undefined>;
  readonly proxies: ProxySettings;
}

/** HTTP as registries need it: redirects that do not carry credentials away, and no wait without an end. */
export class HttpTransport {
  readonly #agents = new Map<string, Promise<http.Agent>>();
  #isClosed = false;

  constructor(private readonly options: HttpTransportOptions) {}

  /**
   * Sends a request and follows redirects where it has no body.
   *
   * `Authorization` goes to the host that was asked and to no other.
   * @throws TransportError when no answer comes
   */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    let { url, headers = {} } = request;
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#once({ ...request, url, headers }, signal);
      const location = answer.headers.location;
      const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
      if (!isRedirect || request.body || !['GET', 'HEAD'].includes(request.method)) return answer;
      discard(answer);
      if (redirects === REDIRECTS_MAX)
        throw new TransportError(`${answer.request}: stopped after ${REDIRECTS_MAX} redirects`, false);
      const next = redirectTarget(answer, location);
      if (next.host !== url.host) headers = withoutCredentials(headers);
      url = next;
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const agent of this.#agents.values()) {
      agent.then(
        (open) => open.destroy(),
        () => undefined,
      );
    }
  }

  async #once(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const { method, url, headers, body } = request;
    signal.throwIfAborted();
    const agent = await this.#agent(url);
    const sending = this.#open(url, {
      method,
      agent,
      signal,
      headers: { ...headers, ...(body ? { 'content-length': String(body.sizeBytes) } : {}) },
    });
    const silence = new Silence(this.options.clock, ANSWER_MAX_MS, () =>
      sending.destroy(new TransportError(`${requestName(method, url)}: no answer came in time`, true)),
    );
    try {
      const answered = new Promise<IncomingMessage>((resolve, reject) => {
        sending.once('response', resolve);
        // It stays for the life of the request: later ones surface in whoever reads the body.
        sending.on('error', reject);
      });
      answered.catch(() => undefined);
      if (body) await sendBody(sending, body, answered, silence);
      else sending.end();
      const response = await answered;
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        url,
        request: requestName(method, url),
        body: response,
      };
    } catch (error) {
      sending.destroy();
      signal.throwIfAborted();
      throw transportError(method, url, error);
    } finally {
      silence.end();
    }
  }

  #open(url: URL, options: http.RequestOptions): http.ClientRequest {
    const proxy = proxyFor(url, this.options.proxies);
    if (!proxy || url.protocol === 'https:')
      return (url.protocol === 'https:' ? https : http).request(url, options);
    const { headers, ...where } = throughProxy(proxy, url);
    return (proxy.protocol === 'https:' ? https : http).request({
      ...options,
      ...where,
      headers: { ...headers, ...options.headers },
    });
  }

  #agent(url: URL): Promise<http.Agent> {
    if (this.#isClosed) throw new ClusterError('cancelled', 'the connection to the registry was closed');
    const key = `${url.protocol}//${url.host}`;
    let agent = this.#agents.get(key);
    if (!agent) {
      agent = this.#makeAgent(url);
      this.#agents.set(key, agent);
    }
    return agent;
  }

  async #makeAgent(url: URL): Promise<http.Agent> {
    const kept = { keepAlive: true, maxSockets: SOCKETS_MAX };
    const proxy = proxyFor(url, this.options.proxies);
    if (url.protocol === 'http:') {
      return proxy?.protocol === 'https:' ? new https.Agent(kept) : new http.Agent(kept);
    }
    const tls = await this.options.tls(url.host);
    const verified = tls ? { ...kept, ...tls, ca: [...tls.ca] } : { ...kept, rejectUnauthorized: false };
    return proxy ? new TunnelAgent(proxy, verified) : new https.Agent(verified);
  }

  /**
   * The body, piece by piece.
   * @throws TransportError when it breaks off or falls silent
   */
  async *read(answer: HttpAnswer): AsyncGenerator<Buffer> {
    const { body } = answer;
    const giveUp = () => body.destroy(new TransportError(`${answer.request}: nothing came any more`, true));
    const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        // Only while we wait: a slow reader is not the registry's silence.
        const stopWaiting = this.options.clock.after(SILENCE_MAX_MS, giveUp);
        const next = await pieces.next().finally(stopWaiting);
        if (next.done) break;
        yield next.value;
      }
    } catch (error) {
      throw transportError('GET', answer.url, error);
    } finally {
      if (!body.complete) body.destroy();
    }
  }

  /**
   * The whole body.
   * @throws ClusterError `failedPrecondition` when it is larger than `bytesMax`
   */
  async readAll(answer: HttpAnswer, bytesMax: number): Promise<Buffer> {
    const tooLarge = () =>
      new ClusterError(
        'failedPrecondition',
        `${answer.request}: the answer is larger than ${bytesMax} bytes`,
      );
    if (Number(answer.headers['content-length'] ?? 0) > bytesMax) {
      discard(answer);
      throw tooLarge();
    }
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    for await (const piece of this.read(answer)) {
      sizeBytes += piece.length;
      if (sizeBytes > bytesMax) throw tooLarge();
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }
}

/** Ends what takes too long; every sign of life starts the count anew. */
class Silence {
  #cancel: () => void;

  constructor(
    private readonly clock: Clock,
    private readonly maxMs: number,
    private readonly giveUp: () => void,
  ) {
    this.#cancel = clock.after(maxMs, giveUp);
  }

  broken(): void {
    this.#cancel();
    this.#cancel = this.clock.after(this.maxMs, this.giveUp);
  }

  end(): void {
    this.#cancel();
  }
}

/** A registry may answer before it has everything, to refuse it: then the rest stays here. */
async function sendBody(
  sending: http.ClientRequest,
  { content }: HttpBody,
  answered: Promise<IncomingMessage>,
  silence: Silence,
): Promise<void> {
  let isAnswered = false;
  const answer = answered.then(
    (response) => {
      isAnswered = true;
      response.once('close', () => sending.destroy());
    },
    () => {
      isAnswered = true;
    },
  );
  let wake = () => {};
  sending.on('drain', () => wake());
  for await (const piece of content) {
    if (isAnswered) return;
    if (!sending.write(piece)) {
      const drained = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([drained, answer]);
    }
    silence.broken();
  }
  if (!isAnswered) sending.end();
}

function redirectTarget(answer: HttpAnswer, location: string): URL {
  if (!URL.canParse(location, answer.url.href))
    throw new TransportError(`${answer.request}: redirected to what is no URL`, false);
  const next = new URL(location, answer.url);
  if (!/^https?:$/.test(next.protocol) || (answer.url.protocol === 'https:' && next.protocol === 'http:'))
    throw new TransportError(`${answer.request}: refused to be redirected from TLS to ${next.origin}`, false);
  next.username = '';
  next.password = '';
  return next;
}

const withoutCredentials = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'));
