import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Authorizer, type Scope } from './authorizer.js';
import { parseChallenges } from './challenge.js';
import { discard, type HttpAnswer, type HttpBody, type HttpMethod, HttpTransport } from './http-transport.js';
import type { ProxySettings } from './proxies.js';
import type { RegistryAuth } from './registry-auth.js';
import { RegistryError, registryError } from './registry-errors.js';
import type { Endpoint } from './registry-settings.js';
import { retryAfterMs, withRetries } from './retry.js';
import { tlsMaterial } from './tls-material.js';
import { requestName, TransportError } from './transport-errors.js';

const ERROR_BYTES_MAX = 64 * 1024;
const USER_AGENT = 'tessera';

export interface SessionOptions {
  readonly endpoint: Endpoint;
  readonly auth: RegistryAuth;
  readonly certsDirectory: string;
  readonly proxies: ProxySettings;
  readonly clock: Clock;
  readonly random: Random;
}

export interface SessionRequest {
  readonly method: HttpMethod;
  /** Below the endpoint, such as `/v2/`; or a whole URL that the registry gave. */
  readonly target: string | URL;
  readonly scopes: readonly Scope[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Made anew for each attempt. */
  readonly body?: () => HttpBody;
  /** Statuses to hand back; any other is thrown. */
  readonly accept: readonly number[];
}

/** Requests to one endpoint of a registry, each proven as the registry demands it. */
export class RegistrySession {
  readonly transport: HttpTransport;
  readonly #authorizer: Authorizer;
  readonly #base: URL;

  private constructor(readonly options: SessionOptions) {
    const { endpoint, clock, auth, certsDirectory, proxies } = options;
    this.#base = new URL(endpoint.url);
    this.transport = new HttpTransport({
      clock,
      proxies,
      tls: async (host) =>
        endpoint.isInsecure && host === this.#base.host ? undefined : tlsMaterial(certsDirectory, host),
    });
    this.#authorizer = new Authorizer({
      transport: this.transport,
      clock,
      auth,
      registry: this.#base,
    });
  }

  /**
   * Finds out that a registry answers there and what it demands. Whoever opens a session closes it.
   * @throws ClusterError when nothing answers there that speaks the registry's protocol
   */
  static async open(options: SessionOptions, signal: AbortSignal): Promise<RegistrySession> {
    const session = new RegistrySession(options);
    try {
      await session.#ping(signal);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  get endpoint(): Endpoint {
    return this.options.endpoint;
  }

  /** The refresh token given for the password, if any. */
  get refreshToken(): string {
    return this.#authorizer.refreshToken;
  }

  close(): void {
    this.transport.close();
  }

  /** @throws ClusterError `unauthenticated` when the registry does not take who we say we are */
  async authenticate(signal: AbortSignal): Promise<void> {
    discard(await this.sendRepeated({ method: 'GET', target: '/v2/', scopes: [], accept: [200] }, signal));
  }

  /** Repeats what a busy registry or a broken connection has refused; only for what may be done twice. */
  async sendRepeated(request: SessionRequest, signal: AbortSignal): Promise<HttpAnswer> {
    return withRetries(this.options, signal, () => this.send(request, signal));
  }

  /**
   * Sends once; a token that has run out is renewed on the way.
   * @throws RegistryError for a status that is not accepted, TransportError without an answer
   */
  async send(request: SessionRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const url = this.#url(request.target);
    // What lies on another host, as uploads may, gets no proof of ours.
    const isOurs = url.host === this.#base.host;
    for (let attempt = 1; ; attempt++) {
      const authorization = isOurs ? await this.#authorization(request, url, signal) : undefined;
      const answer = await this.transport.send(
        {
          method: request.method,
          url,
          headers: {
            'user-agent': USER_AGENT,
            ...request.headers,
            ...(authorization === undefined ? {} : { authorization }),
          },
          ...(request.body ? { body: request.body() } : {}),
        },
        signal,
      );
      if (request.accept.includes(answer.status)) return answer;
      const mayLearn = answer.status === 401 && attempt === 1 && isOurs && answer.url.host === url.host;
      if (mayLearn && this.#authorizer.learn(answer)) {
        this.#authorizer.forget(request.scopes);
        discard(answer);
        continue;
      }
      throw await this.errorOf(answer);
    }
  }

  /** The refusal in an answer; its body is read. */
  async errorOf(answer: HttpAnswer): Promise<RegistryError> {
    const body = await this.transport
      .readAll(answer, ERROR_BYTES_MAX)
      .then((bytes) => bytes.toString('utf8'))
      .catch(() => '');
    const after = retryAfterMs(answer.headers['retry-after'], this.options.clock.now());
    // Source: RFC 6750, 3.1. Who is known and may not is no stranger, although the status is the same.
    const isForbidden = parseChallenges(answer.headers['www-authenticate'] ?? '').some(
      ({ scheme, parameters }) => scheme === 'bearer' && parameters.error === 'insufficient_scope',
    );
    return registryError(isForbidden ? 403 : answer.status, isForbidden ? '' : body, after);
  }

  async #authorization(
    { scopes, method }: SessionRequest,
    url: URL,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    try {
      return await this.#authorizer.header(scopes, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RegistryError && error.status !== 401) throw error;
      if (!(error instanceof ClusterError) || error.kind !== 'unauthenticated') throw error;
      throw new ClusterError('unauthenticated', `${requestName(method, url)}: ${error.message}`);
    }
  }

  async #ping(signal: AbortSignal): Promise<void> {
    const url = this.#url('/v2/');
    const answer = await withRetries(this.options, signal, async () => {
      const sent = await this.transport
        .send({ method: 'GET', url, headers: { 'user-agent': USER_AGENT } }, signal)
        .catch(asAway);
      if (sent.status >= 500 || sent.status === 429) throw await this.errorOf(sent);
      return sent;
    });
    if (answer.status === 401) this.#authorizer.learn(answer);
    discard(answer);
    if (answer.status === 200 || answer.status === 401) return;
    throw new ClusterError(
      'failedPrecondition',
      `${answer.request}: received unexpected HTTP status: ${answer.status}; this is no registry of API version 2`,
    );
  }

  #url(target: string | URL): URL {
    return typeof target === 'string' ? new URL(`${this.endpoint.url}${target}`) : target;
  }
}

/** Nobody there to begin with: whoever waits should hear of it now, and not after five times as long. */
function asAway(error: unknown): never {
  if (error instanceof TransportError) throw new TransportError(error.message, false, { cause: error.cause });
  throw error;
}

/** Where an answer's Location leads. @throws ClusterError `failedPrecondition` */
export function locationOf(answer: HttpAnswer): URL {
  const { location } = answer.headers;
  if (location === undefined || !URL.canParse(location, answer.url.href))
    throw new ClusterError(
      'failedPrecondition',
      `${answer.request}: the registry names no place to upload to`,
    );
  const url = new URL(location, answer.url);
  // Behind a proxy that ends TLS, a registry names itself without it; the way we came is the one that works.
  if (url.host === answer.url.host) url.protocol = answer.url.protocol;
  if (!/^https?:$/.test(url.protocol) || (answer.url.protocol === 'https:' && url.protocol === 'http:'))
    throw new ClusterError(
      'failedPrecondition',
      `${answer.request}: refused to upload without TLS to ${url.origin}`,
    );
  return url;
}
