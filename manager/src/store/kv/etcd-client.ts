import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import {
  Etcd3,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  type IOptions,
} from 'etcd3';
import { Compacted } from './kv.js';

export interface EtcdOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT`, or `unix:/absolute/path` of a socket. */
  readonly endpoints: readonly string[];
  /** PEM. The client certificate is for an etcd that asks for one. */
  readonly tls?: { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  /** How long one call may take before its outcome counts as unknown. */
  readonly callTimeoutMs?: number;
}

/** Several of etcd's own election timeouts (1 s). */
const CALL_TIMEOUT_MS = 5_000;

// The library would repeat a write whose answer was lost, and refuse every call for five seconds after three
// failures. Here whoever calls decides what may be repeated, so each call is made once.
const once = { execute: async <T>(call: () => T): Promise<Awaited<T>> => await call() };

/** etcd's services as the npm client has them, without its retries and without its watcher. */
export function connectEtcd(clock: Clock, options: EtcdOptions): Etcd3 {
  const { endpoints, tls, callTimeoutMs = CALL_TIMEOUT_MS } = options;
  const settings = {
    hosts: [...endpoints],
    ...(tls && {
      credentials: {
        rootCertificate: tls.ca,
        ...(tls.key && { privateKey: tls.key }),
        ...(tls.cert && { certChain: tls.cert }),
      },
    }),
    grpcOptions: {
      // A list of large objects or a busy watch after an absence may be long; etcd bounds what is stored.
      'grpc.max_receive_message_length': -1,
      // As above. What is kept for them, and for who looks into channels, costs a good part of a small call.
      'grpc.enable_retries': 0,
      'grpc.enable_channelz': 0,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // A dead host is noticed within 15 s. etcd refuses pings more often than every 5 s.
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
    },
    defaultCallOptions: ({ isStream }: { isStream: boolean }) =>
      isStream ? { interceptors: [requireLeader] } : { deadline: clock.now() + callTimeoutMs },
    faultHandling: { global: once, host: () => once },
  };
  return new Etcd3(settings as unknown as IOptions);
}

/** A member that lost its leader ends our streams instead of falling silent. Source: etcd clientv3.WithRequireLeader. */
const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set('hasleader', 'true');
      next(metadata, listener);
    },
  });

/** What a failed call means. Whatever is not clearly a refusal counts as no answer. */
export function fromEtcdError(what: string, error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  const text = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  if (error instanceof EtcdLeaseInvalidError || error instanceof GRPCNotFoundError)
    return new ClusterError('notFound', text);
  if (error instanceof GRPCOutOfRangeError)
    return text.includes('compacted') ? new Compacted(what) : new ClusterError('invalidArgument', text);
  if (error instanceof GRPCInvalidArgumentError) return new ClusterError('invalidArgument', text);
  if (error instanceof EtcdPermissionDeniedError) return new ClusterError('permissionDenied', text);
  if (error instanceof GRPCFailedPreconditionError) return new ClusterError('failedPrecondition', text);
  // "database space exceeded" and "too many requests" are said before anything is written.
  if (error instanceof GRPCResourceExhastedError && text.includes('etcdserver:'))
    return new ClusterError('resourceExhausted', text);
  return new ClusterError('unavailable', text, { cause: error });
}
