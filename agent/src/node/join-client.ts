import {
  type CallOptions,
  type ChannelCredentials,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import type { Clock } from '@tessera/shared/env';
import { ClusterError, errorText, fromServiceError, invalid } from '@tessera/shared/errors';
import { caDigest, parseJoinToken } from '@tessera/shared/join-token';
import type { Node_Availability } from '@tessera/shared/model';
import { CertificateAuthorityClient, type JoinResponse, type RootCertificate } from '@tessera/shared/wire';
import { managerChannelOptions } from '../session/index.js';

/** Each address is given this long before the next one is tried. */
const ATTEMPT_TIMEOUT_MS = 15_000;

export interface JoinOptions {
  /** HOST:PORT of managers, tried in order. */
  readonly managerAddrs: readonly string[];
  readonly token: string;
  readonly csrPem: string;
  readonly hostname: string;
  readonly availability: Node_Availability;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Asks a manager for a certificate. The manager proves itself first: its CA must be the one the token names, so a
 * stranger at that address learns neither the token nor anything else.
 *
 * @throws ClusterError `invalidArgument` for a token that does not fit, `unavailable` when no manager answers
 */
export async function joinCluster(options: JoinOptions): Promise<JoinResponse> {
  const { caDigest: expected } = parseJoinToken(options.token);
  if (options.managerAddrs.length === 0) throw invalid('RemoteAddrs: at least one manager address is needed');
  const failures: string[] = [];
  for (const addr of options.managerAddrs) {
    try {
      const caCertPem = await fetchRootCertificate(addr, options);
      if (caDigest(caCertPem) !== expected)
        throw invalid(
          `the join token is of another cluster than the manager at ${addr}: its CA certificate does not match; ` +
            'print the token anew on that manager',
        );
      return await requestCertificate(addr, caCertPem, options);
    } catch (error) {
      options.signal.throwIfAborted();
      // Another manager would say the same of a bad token.
      if (error instanceof ClusterError && !['unavailable', 'deadlineExceeded'].includes(error.kind))
        throw error;
      failures.push(`${addr}: ${connectionFault(errorText(error))}`);
    }
  }
  throw new ClusterError('unavailable', `no manager could be reached (${failures.join('; ')})`);
}

/** What grpc-js says around the kernel's word on a connection is of no use to whoever joins. */
const connectionFault = (text: string): string =>
  /^No connection established\. Last error: (?:Error: )?(.+?)\. Resolution note:/s.exec(text)?.[1] ?? text;

/** Over a connection that is not verified yet: what it gives is public, and is checked against the token. */
async function fetchRootCertificate(addr: string, options: JoinOptions): Promise<string> {
  const unverified = credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  const { caCertPem } = await withClient<RootCertificate>(addr, unverified, options, (client, call, done) =>
    client.getRootCertificate({}, new Metadata(), call, done),
  );
  try {
    // Whether it is a certificate at all; its digest is compared by the caller.
    caDigest(caCertPem);
  } catch (error) {
    throw new ClusterError('unavailable', `${addr} did not answer with a certificate`, { cause: error });
  }
  return caCertPem;
}

function requestCertificate(addr: string, caCertPem: string, options: JoinOptions): Promise<JoinResponse> {
  const { token, csrPem, hostname, availability } = options;
  const verified = credentials.createSsl(Buffer.from(caCertPem));
  return withClient(addr, verified, options, (client, call, done) =>
    client.join({ token, csrPem, hostname, availability }, new Metadata(), call, done),
  );
}

type Call<T> = (
  client: CertificateAuthorityClient,
  options: CallOptions,
  done: (error: ServiceError | null, response: T) => void,
) => ClientUnaryCall;

async function withClient<T>(
  addr: string,
  channelCredentials: ChannelCredentials,
  { clock, signal }: JoinOptions,
  call: Call<T>,
): Promise<T> {
  const client = new CertificateAuthorityClient(addr, channelCredentials, managerChannelOptions);
  try {
    return await new Promise<T>((resolve, reject) => {
      const deadline = clock.now() + ATTEMPT_TIMEOUT_MS;
      const running = call(client, { deadline }, (error, response) =>
        error ? reject(fromServiceError(error)) : resolve(response),
      );
      signal.addEventListener('abort', () => running.cancel(), { once: true });
    });
  } finally {
    client.close();
  }
}
