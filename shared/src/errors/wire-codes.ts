import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ClusterError, errorText } from './cluster-error.js';
import { type ErrorKind, isErrorKind } from './error-kind.js';

/**
 * The one table from error kind to gRPC status and Docker API code.
 *
 * Source: moby daemon/server/httpstatus, so existing clients see the codes they know.
 */
const WIRE_CODES: Record<ErrorKind, { readonly grpc: status; readonly http: number }> = {
  invalidArgument: { grpc: status.INVALID_ARGUMENT, http: 400 },
  unauthenticated: { grpc: status.UNAUTHENTICATED, http: 401 },
  permissionDenied: { grpc: status.PERMISSION_DENIED, http: 403 },
  notFound: { grpc: status.NOT_FOUND, http: 404 },
  alreadyExists: { grpc: status.ALREADY_EXISTS, http: 409 },
  conflict: { grpc: status.FAILED_PRECONDITION, http: 409 },
  failedPrecondition: { grpc: status.FAILED_PRECONDITION, http: 400 },
  resourceExhausted: { grpc: status.RESOURCE_EXHAUSTED, http: 500 },
  aborted: { grpc: status.ABORTED, http: 500 },
  cancelled: { grpc: status.CANCELLED, http: 500 },
  deadlineExceeded: { grpc: status.DEADLINE_EXCEEDED, http: 500 },
  notModified: { grpc: status.FAILED_PRECONDITION, http: 304 },
  unimplemented: { grpc: status.UNIMPLEMENTED, http: 501 },
  unavailable: { grpc: status.UNAVAILABLE, http: 503 },
  internal: { grpc: status.INTERNAL, http: 500 },
};

/** Metadata key that carries the kind: several kinds share one gRPC status, so it wins over the code. */
const KIND_KEY = 'tessera-error-kind';

export const errorKindOf = (error: unknown): ErrorKind =>
  error instanceof ClusterError ? error.kind : 'internal';

export const wireCodes = (error: unknown): { readonly grpc: status; readonly http: number } =>
  WIRE_CODES[errorKindOf(error)];

/** What a gRPC handler passes to its callback, or emits on its stream, for `error`. */
export function toServiceError(error: unknown): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set(KIND_KEY, errorKindOf(error));
  return { code: wireCodes(error).grpc, details: errorText(error), metadata };
}

/** The `ClusterError` behind what a gRPC client call failed with. */
export function fromServiceError(error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  const { code, details, metadata, message } = error as Partial<ServiceError>;
  const named = metadata?.get?.(KIND_KEY)[0];
  const kind =
    typeof named === 'string' && isErrorKind(named)
      ? named
      : ((Object.keys(WIRE_CODES) as ErrorKind[]).find((key) => WIRE_CODES[key].grpc === code) ?? 'internal');
  return new ClusterError(kind, details || message || String(error), { cause: undefined });
}
