import { chmodSync, chownSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { socketGroupId } from '@tessera/shared/process';
import { API_DIRECTORY, API_SOCKET } from '@tessera/shared/volumes';
import type { CertificateAuthority, IssuedCertificate } from '../ca/index.js';
import type { Config } from '../config.js';
import { Newcomers } from '../newcomers/index.js';
import { isUser, type RequestHandler } from '../server/index.js';
import type { Teardown } from './teardown.js';

const SOCKET_NAME = 'tessera.sock';
const SOCKET_MODE = 0o660;

/**
 * Uploads, followed logs and terminals take as long as they take. An idle connection is left to its client, as
 * dockerd does: one that is closed as the client's next request is on its way is an error to that client. Heads, which
 * come before anybody is asked for a certificate in words, have their time; Node gives them none without `requestTimeout`.
 */
const SERVER_OPTIONS = { requestTimeout: 0, keepAliveTimeout: 0, headersTimeout: 60_000 } as const;
const HANDSHAKE_TIMEOUT_MS = 30_000;

/** As Go's servers, and with them dockerd, answer who forgot `--tlsverify`. Source: Go's net/http, server.go. */
const PLAIN_HTTP = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';

/** Long before the serving certificate ends, and within what a timer holds. */
const REISSUE_EVERY_MS = 20 * 86_400_000;

export interface ApiOptions {
  readonly config: Config;
  readonly nodeId: string;
  readonly api: RequestHandler;
  readonly authority: CertificateAuthority;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/** Serves the API: over TLS if it can, and then on the socket, which says that the manager is ready. */
export async function serveApi(options: ApiOptions): Promise<void> {
  const { config, api, logger, teardown } = options;
  if (config.apiListenAddr) {
    try {
      await serveOverTls(options, config.apiListenAddr);
    } catch (error) {
      // Another daemon may have the port (dockerd's is the same); the socket serves all the same.
      logger.error({ error }, 'the API is not served over TLS');
    }
  }
  const server = await listenOnSocket(config, api);
  teardown.add('API socket', () => closeListener(server));
}

async function serveOverTls(
  { config, nodeId, api, authority, clock, logger, teardown }: ApiOptions,
  listenAddr: string,
): Promise<void> {
  const advertised = config.advertiseAddr.slice(0, config.advertiseAddr.lastIndexOf(':'));
  const names = [advertised.replace(/^\[(.*)\]$/, '$1'), config.hostname, 'localhost', '127.0.0.1'];
  const issue = () => authority.issueServerCertificate(nodeId, names);
  const server = await listenOverTls(listenAddr, await issue(), api, clock);
  teardown.add('API over TLS', () => closeListener(server));
  let cancel = () => {};
  const reissueLater = () => {
    cancel = clock.after(REISSUE_EVERY_MS, () => {
      issue()
        .then((certificate) => replaceCertificate(server, certificate))
        .catch((error: unknown) => logger.error({ error }, "the API's certificate was not renewed"))
        .finally(reissueLater);
    });
  };
  reissueLater();
  teardown.add("API's certificate", () => cancel());
}

/**
 * Serves the API on `<run-dir>/tessera.sock`, taking the name over from whoever had it. libuv unlinks the
 * name it bound when a server closes, so another one is bound and renamed.
 */
async function listenOnSocket({ runDir, socketGroup }: Config, handle: RequestHandler): Promise<Server> {
  const groupId = socketGroupId(socketGroup);
  for (const name of readdirSync(runDir))
    if (/^\.manager\.\d+\.sock$/.test(name)) rmSync(join(runDir, name), { force: true });
  const server = createServer(SERVER_OPTIONS, handle);
  handle.prepare(server);
  const bound = join(runDir, `.manager.${process.pid}.sock`);
  await listen(server, { path: bound }, bound);
  if (groupId !== undefined) chownSync(bound, 0, groupId);
  chmodSync(bound, SOCKET_MODE);
  offerToContainers(runDir, bound);
  renameSync(bound, join(runDir, SOCKET_NAME));
  return server;
}

/**
 * The same socket in a directory of its own, which containers are given whole: the next manager's takes its place under
 * the same name. What `tsd` serves while no manager runs is never there.
 */
function offerToContainers(runDir: string, bound: string): void {
  const directory = join(runDir, API_DIRECTORY);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const offered = join(directory, `.${process.pid}.sock`);
  for (const name of readdirSync(directory))
    if (/^\.\d+\.sock$/.test(name)) rmSync(join(directory, name), { force: true });
  linkSync(bound, offered);
  renameSync(offered, join(directory, API_SOCKET));
}

/** Serves the API over TLS to users with a certificate; `replaceCertificate` renews ours. */
async function listenOverTls(
  listenAddr: string,
  certificate: IssuedCertificate,
  handle: RequestHandler,
  clock: Clock,
): Promise<TlsServer> {
  // Unauthorized clients come as far as the handler, which refuses them in words.
  const options = {
    ...SERVER_OPTIONS,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    // A client that has nothing more to say to a container still wants to hear it.
    allowHalfOpen: true,
    ...contextOf(certificate),
    requestCert: true,
    rejectUnauthorized: false,
  };
  const server = createTlsServer(options, handle);
  handle.prepare(server);
  const newcomers = new Newcomers(clock);
  server.on('connection', (socket: Socket) => newcomers.watch(socket));
  server.on('secureConnection', (socket: TLSSocket) => {
    const { remoteAddress = '', remotePort = 0 } = socket;
    if (isUser(socket)) newcomers.welcome(remoteAddress, remotePort);
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, { remoteAddress = '', remotePort = 0 }) => {
    if (error.code === 'ERR_SSL_HTTP_REQUEST') newcomers.dismiss(remoteAddress, remotePort, PLAIN_HTTP);
  });
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(listenAddr) ?? [];
  await listen(server, { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }, listenAddr);
  return server;
}

const replaceCertificate = (server: TlsServer, certificate: IssuedCertificate): void =>
  server.setSecureContext(contextOf(certificate));

/** Refuses new connections and ends those there are. */
function closeListener(server: Server | TlsServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

const contextOf = ({ keyPem, certPem, caCertPem }: IssuedCertificate) => ({
  key: keyPem,
  cert: certPem,
  ca: caCertPem,
  minVersion: 'TLSv1.2' as const,
});

function listen(
  server: Server | TlsServer,
  where: { readonly path: string } | { readonly host: string; readonly port: number },
  name: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ClusterError('unavailable', `cannot serve the API on ${name}`, { cause })),
    );
    server.listen(where, () => resolve());
  });
}
