import { ClusterError, isCancelled } from '@tessera/shared/errors';

/** Codes of a connection that broke after it stood: the same request may well go through at once. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNABORTED']);
const UNKNOWN_AUTHORITY = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

/** A request that got no answer. */
export class TransportError extends ClusterError {
  override readonly name = 'TransportError';

  constructor(
    message: string,
    /** The connection had been made and broke, or fell silent: repeating may help. */
    readonly isBroken: boolean,
    options?: ErrorOptions,
  ) {
    super('unavailable', message, options);
  }
}

/** Like Go's `url.Error`, which Docker's users know: `Get "URL": what happened`. */
export const requestName = (method: string, url: URL | string): string =>
  `${method[0]}${method.slice(1).toLowerCase()} "${withoutQuery(url)}"`;

/** Signed redirects carry secrets in their query. */
const withoutQuery = (url: URL | string): string => String(url).replace(/\?.*$/, '');

/** @param error what Node's http gave */
export function transportError(method: string, url: URL, error: unknown): Error {
  if (error instanceof ClusterError) return error;
  if (isCancelled(error)) return error as Error;
  const { code = '', message = '' } = causeOf(error);
  return new TransportError(`${requestName(method, url)}: ${words(code, message, url)}`, BROKEN.has(code));
}

function words(code: string, message: string, url: URL): string {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const dial = `dial tcp ${url.hostname}:${port}`;
  if (code === 'ECONNREFUSED') return `${dial}: connect: connection refused`;
  if (code === 'ENOTFOUND') return `dial tcp: lookup ${url.hostname}: no such host`;
  if (code === 'EAI_AGAIN') return `dial tcp: lookup ${url.hostname}: temporary failure in name resolution`;
  if (code === 'EHOSTUNREACH') return `${dial}: connect: no route to host`;
  if (code === 'ENETUNREACH') return `${dial}: connect: network is unreachable`;
  if (code === 'ETIMEDOUT') return `${dial}: i/o timeout`;
  if (/wrong version number|packet length too long/i.test(message))
    return 'http: server gave HTTP response to HTTPS client';
  if (UNKNOWN_AUTHORITY.has(code))
    return `tls: failed to verify certificate: x509: certificate signed by unknown authority; put the authority into certs.d/${url.host}/ca.crt of the data directory`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return 'tls: failed to verify certificate: x509: certificate has expired or is not yet valid';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `tls: failed to verify certificate: x509: ${message.replace(/^.*?: /, '')}`;
  if (code === 'ECONNRESET' || message === 'aborted') return 'connection reset by peer';
  return message || code || 'the request failed';
}

/** Where several addresses were tried, the last one's failure stands for all. */
function causeOf(error: unknown): { code?: string; message?: string } {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.at(-1) as Error;
  return error as { code?: string; message?: string };
}
