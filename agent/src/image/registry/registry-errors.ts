import { ClusterError, type ErrorKind } from '@tessera/shared/errors';
import { z } from 'zod';

const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.string().max(200), message: z.string().max(4096).nullish() })).min(1),
});
/** Older token servers, and some others, answer with one of these. */
const plainSchema = z.union([
  z.object({ details: z.string().max(4096).min(1) }).transform(({ details }) => details),
  z.object({ message: z.string().max(4096).min(1) }).transform(({ message }) => message),
]);

/** A registry's refusal. `message` is as Docker words it: the code in small letters, then the registry's own text. */
export class RegistryError extends ClusterError {
  override readonly name = 'RegistryError';

  constructor(
    kind: ErrorKind,
    message: string,
    /** As the distribution specification lists them: MANIFEST_UNKNOWN and so on; empty when none was given. */
    readonly code: string,
    readonly status: number,
    /** How long to wait before asking again, where it says so. */
    readonly retryAfterMs: number | undefined,
  ) {
    super(kind, message);
  }
}

const DEFAULT_TEXTS: Readonly<Record<string, string>> = {
  UNAUTHORIZED: 'authentication required',
  DENIED: 'requested access to the resource is denied',
  TOOMANYREQUESTS: 'too many requests',
};

const KINDS: Readonly<Record<string, ErrorKind>> = {
  MANIFEST_UNKNOWN: 'notFound',
  NAME_UNKNOWN: 'notFound',
  BLOB_UNKNOWN: 'notFound',
  UNAUTHORIZED: 'unauthenticated',
  DENIED: 'permissionDenied',
  TOOMANYREQUESTS: 'unavailable',
  UNSUPPORTED: 'unimplemented',
};

/**
 * Source: OCI distribution specification, "Error Codes"; distribution/registry/client/errors.go, whose words these are.
 *
 * @param body what came with `status`, bounded by the caller; text of any kind
 * @param retryAfterMs from the answer's Retry-After
 */
export function registryError(status: number, body: string, retryAfterMs?: number): RegistryError {
  const value = parse(body);
  const listed = errorsSchema.safeParse(value);
  const first = listed.success ? listed.data.errors[0] : undefined;
  const plain = plainSchema.safeParse(value);
  const code = (first?.code || codeOf(status)).toUpperCase();
  if (code === '') {
    const text = `received unexpected HTTP status: ${status}${plain.success ? `: ${printable(plain.data)}` : ''}`;
    return new RegistryError(kindOf(status), text, '', status, retryAfterMs);
  }
  const text = first?.message || (plain.success ? plain.data : '') || DEFAULT_TEXTS[code] || words(code);
  return new RegistryError(
    KINDS[code] ?? kindOf(status),
    printable(`${words(code)}: ${text}`),
    code,
    status,
    retryAfterMs,
  );
}

const codeOf = (status: number): string =>
  status === 401 ? 'UNAUTHORIZED' : status === 403 ? 'DENIED' : status === 429 ? 'TOOMANYREQUESTS' : '';

function kindOf(status: number): ErrorKind {
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'permissionDenied';
  if (status === 404) return 'notFound';
  return status >= 500 || status === 429 || status === 408 ? 'unavailable' : 'failedPrecondition';
}

const words = (code: string): string => code.toLowerCase().replaceAll('_', ' ');

/** A registry's text goes to people's terminals. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
