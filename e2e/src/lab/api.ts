import { request } from 'node:http';
import { ClusterError, isErrorKind } from '@tessera/shared/errors';

export interface ApiReply {
  readonly status: number;
  readonly body: Buffer;
}

/** One request to the API on a unix socket, whatever its answer. */
export function apiRequest(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  options: { readonly timeoutMs?: number; readonly headers?: Record<string, string> } = {},
): Promise<ApiReply> {
  return new Promise((resolve, reject) => {
    const raw = Buffer.isBuffer(body);
    const payload = body === undefined ? undefined : raw ? body : Buffer.from(JSON.stringify(body));
    const call = request(
      {
        socketPath,
        method,
        path,
        headers: {
          ...(payload
            ? {
                'content-type': raw ? 'application/x-tar' : 'application/json',
                'content-length': payload.length,
              }
            : {}),
          ...options.headers,
        },
        timeout: options.timeoutMs ?? 60_000,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
        response.on('error', reject);
      },
    );
    call.on('timeout', () =>
      call.destroy(new ClusterError('deadlineExceeded', `${method} ${path} was not answered`)),
    );
    call.on('error', reject);
    call.end(payload);
  });
}

/** The same, parsed. @throws ClusterError with the API's own message when the status is not 2xx */
export async function api<T>(socketPath: string, method: string, path: string, body?: unknown): Promise<T> {
  const reply = await apiRequest(socketPath, method, path, body);
  const text = reply.body.toString();
  if (reply.status >= 300) {
    const message = parsed<{ message?: string; kind?: string }>(text);
    const kind = message?.kind && isErrorKind(message.kind) ? message.kind : 'internal';
    throw new ClusterError(kind, `${method} ${path}: ${reply.status} ${message?.message ?? text}`);
  }
  return parsed<T>(text) as T;
}

function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
