import { createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { ALICE } from './docker-registry.js';

const LIFE_S = 300;
const REFRESH_TOKEN = 'refresh-me';

/** How a token was asked for. */
export interface TokenRequest {
  readonly method: string;
  readonly scopes: readonly string[];
  readonly account: string;
}

/**
 * A token server as distribution's specification has it (docs/spec/auth/token.md, oauth.md, jwt.md): everybody may
 * pull what begins with `open/`, ALICE may do everything.
 */
export class TokenServer {
  readonly asked: TokenRequest[] = [];
  /** So many of the next tokens have ended long ago, though the server says otherwise. */
  staleCount = 0;

  private constructor(
    private readonly server: Server,
    readonly caCertPem: string,
    private readonly issuer: { readonly keyPem: string; readonly certPem: string },
  ) {
    server.on('request', async (request, response) => {
      const { status, body } = await this.#answer(request);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  }

  static async start(): Promise<TokenServer> {
    const authority = await TestAuthority.create();
    const issuer = await authority.issue({ nodeId: 'issuer.test', role: 'manager' });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new TokenServer(server, authority.caCertPem, issuer);
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/token`;
  }

  get refreshToken(): string {
    return REFRESH_TOKEN;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: object }> {
    const denied = {
      status: 401,
      body: { errors: [{ code: 'UNAUTHORIZED', message: 'incorrect username or password' }] },
    };
    const isPost = request.method === 'POST';
    const query = isPost
      ? new URLSearchParams(await bodyOf(request))
      : new URL(request.url!, this.realm).searchParams;
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    this.asked.push({ method: request.method!, scopes, account: query.get('account') ?? '' });
    if (isPost && query.get('refresh_token') !== REFRESH_TOKEN) return denied;
    const proof = `Basic ${Buffer.from(`${ALICE.username}:${ALICE.password}`).toString('base64')}`;
    const { authorization } = request.headers;
    if (!isPost && authorization !== undefined && authorization !== proof) return denied;
    const isAlice = isPost || authorization === proof;
    const token = this.#sign(
      isAlice ? ALICE.username : '',
      scopes.flatMap((scope) => granted(scope, isAlice)),
    );
    return {
      status: 200,
      body: {
        token,
        access_token: token,
        expires_in: LIFE_S,
        ...(isAlice && !isPost ? { refresh_token: REFRESH_TOKEN } : {}),
      },
    };
  }

  #sign(subject: string, access: readonly object[]): string {
    const nowS = Math.floor(Date.now() / 1000);
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const header = {
      typ: 'JWT',
      alg: 'ES256',
      x5c: [new X509Certificate(this.issuer.certPem).raw.toString('base64')],
    };
    const claims = {
      iss: 'issuer.test',
      sub: subject,
      aud: 'registry.test',
      exp: this.staleCount-- > 0 ? nowS - 300 : nowS + LIFE_S,
      nbf: nowS - 600,
      iat: nowS,
      jti: randomBytes(8).toString('hex'),
      access,
    };
    const text = `${encode(header)}.${encode(claims)}`;
    const key = createPrivateKey(this.issuer.keyPem);
    const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }
}

function granted(scope: string, isAlice: boolean): object[] {
  const match = /^(\w+):(.+):([^:]+)$/.exec(scope);
  if (!match) return [];
  const [, type, name = '', actions = ''] = match;
  const allowed = actions
    .split(',')
    .filter((action) => isAlice || (action === 'pull' && name.startsWith('open/')));
  return allowed.length > 0 ? [{ type, name, actions: allowed }] : [];
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) text += piece;
  return text;
}
