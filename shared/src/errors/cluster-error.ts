import type { ErrorKind } from './error-kind.js';

/** An operating error: expected, and for the caller to handle. Bugs are assertions instead. */
export class ClusterError extends Error {
  override readonly name: string = 'ClusterError';

  constructor(
    readonly kind: ErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export const notFound = (what: string, id: string) => new ClusterError('notFound', `${what} ${id} not found`);

/** Bad input: names the field and says how to mend it. */
export const invalid = (message: string) => new ClusterError('invalidArgument', message);

/** Whether the same call may well succeed a little later. */
export const isTemporary = (error: unknown): boolean =>
  error instanceof ClusterError && ['unavailable', 'aborted', 'deadlineExceeded'].includes(error.kind);

export const isCancelled = (error: unknown): boolean =>
  (error instanceof ClusterError && error.kind === 'cancelled') ||
  (error instanceof Error && error.name === 'AbortError');

/** The text of whatever was thrown, with its causes: "pull busybox: dial 10.0.0.1: refused". */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}
