import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { z } from 'zod';
import { SharedWork } from '../shared-work.js';
import { type Challenge, parseChallenges } from './challenge.js';
import type { HttpAnswer, HttpTransport } from './http-transport.js';
import { basicCredentials, type RegistryAuth } from './registry-auth.js';
import { registryError } from './registry-errors.js';

const TOKEN_ANSWER_BYTES_MAX = 1024 * 1024;
/** What a token holds that does not say for how long. Source: distribution docs/spec/auth/token.md. */
const TOKEN_LIFE_DEFAULT_S = 60;
const TOKEN_LIFE_MIN_S = 60;
/** A token is renewed when so much of its life is left, so that it does not end on its way. */
const TOKEN_LEEWAY_MS = 10_000;
/** As what we present ourselves to token servers; Docker's name, since some know no other. */
const CLIENT_ID = 'docker';

const tokenSchema = z.object({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  refresh_token: z.string().nullish(),
  expires_in: z.number().nonnegative().nullish(),
});

interface Token {
  readonly value: string;
  readonly untilMs: number;
}

/** What one may do: `repository:library/busybox:pull`. Source: distribution docs/spec/auth/scope.md. */
export type Scope = string;
export const repositoryScope = (repository: string, ...actions: readonly ('pull' | 'push')[]): Scope =>
  `repository:${repository}:${actions.join(',')}`;

/** Proves to one registry who asks, by whatever it has asked for. */
export class Authorizer {
  readonly #tokens = new Map<string, Token>();
  readonly #fetching = new SharedWork<Token>();
  #challenges: readonly Challenge[] = [];
  #refreshToken: string;

  constructor(
    private readonly options: {
      readonly transport: HttpTransport;
      readonly clock: Clock;
      readonly auth: RegistryAuth;
      /** Of the registry: where TLS is used, secrets leave by TLS only. */
      readonly registry: URL;
    },
  ) {
    this.#refreshToken = options.auth.identityToken;
  }

  /** The refresh token the token server has given in exchange for a password, empty when it gave none. */
  get refreshToken(): string {
    return this.#refreshToken;
  }

  /** Takes in what a registry demands. @returns whether it demands anything we know */
  learn(answer: HttpAnswer): boolean {
    const found = parseChallenges(answer.headers['www-authenticate'] ?? '').filter(({ scheme }) =>
      ['basic', 'bearer'].includes(scheme),
    );
    if (found.length > 0) this.#challenges = found;
    return found.length > 0;
  }

  /** Forgets the token for these scopes: the registry takes it no longer. */
  forget(scopes: readonly Scope[]): void {
    this.#tokens.delete(scopes.join(' '));
  }

  /**
   * The `Authorization` to send; undefined where none is demanded.
   * @throws ClusterError `unauthenticated` when there is nothing to prove it with
   */
  async header(scopes: readonly Scope[], signal: AbortSignal): Promise<string | undefined> {
    const { auth } = this.options;
    const bearer = this.#challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer) {
      if (auth.registryToken) return `Bearer ${auth.registryToken}`;
      return `Bearer ${(await this.#token(bearer, scopes, signal)).value}`;
    }
    const basic = this.#challenges.find(({ scheme }) => scheme === 'basic');
    if (!basic) return undefined;
    if (!auth.username) throw new ClusterError('unauthenticated', 'no basic auth credentials');
    return basicCredentials(auth);
  }

  async #token(challenge: Challenge, scopes: readonly Scope[], signal: AbortSignal): Promise<Token> {
    const key = scopes.join(' ');
    const known = this.#tokens.get(key);
    if (known && known.untilMs - TOKEN_LEEWAY_MS > this.options.clock.monotonic()) return known;
    return this.#fetching.run(key, signal, async () => {
      const token = await this.#fetch(challenge, scopes, signal);
      this.#tokens.set(key, token);
      return token;
    });
  }

  async #fetch(challenge: Challenge, scopes: readonly Scope[], signal: AbortSignal): Promise<Token> {
    const { transport, auth, clock } = this.options;
    const realm = this.#realm(challenge);
    const service = challenge.parameters.service ?? '';
    const answer = this.#refreshToken
      ? await this.#exchange(realm, service, scopes, signal)
      : await this.#ask(realm, service, scopes, signal);
    const body = await transport.readAll(answer, TOKEN_ANSWER_BYTES_MAX);
    if (answer.status !== 200) throw registryError(answer.status, body.toString('utf8'));
    const parsed = tokenSchema.safeParse(parseJson(body));
    const value = parsed.success ? parsed.data.token || parsed.data.access_token : undefined;
    // A header cannot hold anything else.
    if (!value || !/^[\x21-\x7e]+$/.test(value))
      throw new ClusterError('failedPrecondition', `${answer.request}: the token server gave no token`);
    if (parsed.data?.refresh_token && (auth.password || auth.identityToken))
      this.#refreshToken = parsed.data.refresh_token;
    const lifeS = Math.max(parsed.data?.expires_in ?? TOKEN_LIFE_DEFAULT_S, TOKEN_LIFE_MIN_S);
    return { value, untilMs: clock.monotonic() + lifeS * 1000 };
  }

  /** Source: distribution docs/spec/auth/token.md. */
  #ask(realm: URL, service: string, scopes: readonly Scope[], signal: AbortSignal): Promise<HttpAnswer> {
    const { transport, auth } = this.options;
    const url = new URL(realm);
    if (service) url.searchParams.append('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const headers: Record<string, string> = {};
    if (auth.username) {
      url.searchParams.append('account', auth.username);
      headers.authorization = basicCredentials(auth);
    }
    return transport.send({ method: 'GET', url, headers }, signal);
  }

  /** Source: distribution docs/spec/auth/oauth.md. */
  #exchange(realm: URL, service: string, scopes: readonly Scope[], signal: AbortSignal): Promise<HttpAnswer> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: this.#refreshToken,
      client_id: CLIENT_ID,
      service,
    });
    if (scopes.length > 0) form.set('scope', scopes.join(' '));
    const body = Buffer.from(form.toString());
    return this.options.transport.send(
      {
        method: 'POST',
        url: realm,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: { sizeBytes: body.length, content: [body] },
      },
      signal,
    );
  }

  #realm({ parameters }: Challenge): URL {
    const { registry, auth } = this.options;
    const text = parameters.realm ?? '';
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    if (!realm || !/^https?:$/.test(realm.protocol))
      throw new ClusterError('failedPrecondition', `registry ${registry.host} names no token server`);
    if (registry.protocol === 'https:' && realm.protocol === 'http:' && (auth.username || this.#refreshToken))
      throw new ClusterError(
        'permissionDenied',
        `registry ${registry.host} names a token server without TLS (${realm.origin}): credentials are not sent there`,
      );
    return realm;
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
