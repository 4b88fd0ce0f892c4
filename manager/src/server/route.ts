import type { IncomingHttpHeaders } from 'node:http';
import type { Lendable, Upload } from '../streams/index.js';

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
  /** Where a `stream`'s answer may be written by somebody else. */
  readonly connection?: Lendable | undefined;
}

export interface UploadRequest extends Omit<ApiRequest, 'body'> {
  /** The body as it arrives; reading slowly slows the client. */
  readonly content: Upload;
}

export interface Reply {
  readonly status: number;
  /** Sent as JSON, or as it is when it is a string. Undefined: no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Has somebody else write the body, once it is called: in chunks of HTTP, but for the last. Resolves at its end. */
export type WrittenElsewhere = () => Promise<void>;

/** An answer whose end is not known at its beginning. */
export interface StreamReply {
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The head goes out at once: it tells the client that what happens from now on will be in the answer. */
  readonly early?: boolean;
  /** Ends the answer; what it throws after the first chunk is appended by `onError`, else answered as usual. */
  readonly chunks: AsyncIterable<Uint8Array | string> | WrittenElsewhere;
  /** How this stream tells of an error once it has begun; without it, its connection is cut. */
  onError?(message: string): Uint8Array | string;
}

/** A connection that speaks HTTP no more. */
export interface Connection {
  /** What the client sends, until its half-close. To be read once; reading slowly slows the client. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves once more is taken, or when the client has gone. */
  write(chunk: Uint8Array): Promise<void>;
}

/** An answer that takes the connection over, once its head has been sent. */
export interface Hijack {
  /** Of the answer to a client that asked for an upgrade. Others get a raw stream, as dockerd has it. */
  readonly contentType: string;
  /** The connection is closed when this has returned. */
  readonly serve: (connection: Connection) => Promise<void>;
  /** How this stream tells of an error; without it, it just ends. */
  readonly onError?: (message: string) => Uint8Array;
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
      /** Why it always answers 501. */
      readonly refusal?: string;
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
      /** Its body may be read by somebody else, so its connection ends with it. */
      readonly lends?: boolean;
      readonly handle: (request: UploadRequest) => Promise<StreamReply | Reply>;
    }
  /** A raw connection both ways. */
  | {
      readonly kind: 'hijack';
      readonly method: string;
      readonly pattern: string;
      readonly handle: (request: ApiRequest) => Promise<Hijack | Reply>;
    }
  /** The same as binary messages. */
  | {
      readonly kind: 'websocket';
      readonly method: string;
      readonly pattern: string;
      readonly handle: (request: ApiRequest) => Promise<Hijack | Reply>;
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
