import type { IncomingHttpHeaders } from 'node:http';

/** A request as handlers see it: addressed, versioned, parsed. */
export interface ApiRequest {
  readonly method: string;
  /** Path without the version prefix. */
  readonly path: string;
  /** The API version spoken, as a number to compare: 1.50 is 150. */
  readonly version: number;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON; undefined when the request has no body. Only for kind `json` and `stream`. */
  readonly body: unknown;
  /** Aborted when the client has gone away, or the server stops. */
  readonly signal: AbortSignal;
}

export interface UploadRequest extends Omit<ApiRequest, 'body'> {
  /** The body as it arrives; reading slowly slows the client. */
  readonly content: AsyncIterable<Uint8Array>;
}

export interface Reply {
  readonly status: number;
  /** Sent as JSON, or as it is when it is a string. Undefined: no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer whose end is not known at its beginning. */
export interface StreamReply {
  readonly contentType: string;
  /** Ends the answer; what it throws after the first chunk is appended by `onError`, else answered as usual. */
  readonly chunks: AsyncIterable<Uint8Array | string>;
  /** How this stream tells of an error once it has begun. */
  onError(message: string): Uint8Array | string;
}

/**
 * One thing that can be asked for. In `pattern`, a part `:name` takes one parameter, which may hold slashes: it is
 * found by what stands before and after it.
 */
export type Route =
  | {
      readonly kind: 'json';
      readonly method: string;
      readonly pattern: string;
      readonly handle: (request: ApiRequest) => Promise<Reply> | Reply;
    }
  | {
      readonly kind: 'stream';
      readonly method: string;
      readonly pattern: string;
      readonly handle: (request: ApiRequest) => Promise<StreamReply>;
    }
  | {
      readonly kind: 'upload';
      readonly method: string;
      readonly pattern: string;
      readonly handle: (request: UploadRequest) => Promise<StreamReply>;
    };

type JsonHandler = Extract<Route, { kind: 'json' }>['handle'];

export const route = (method: string, pattern: string, handle: JsonHandler): Route => ({
  kind: 'json',
  method,
  pattern,
  handle,
});

export const json = (status: number, body: unknown): Reply => ({ status, body });
export const empty = (status = 200): Reply => ({ status });
