import { request } from 'node:http';
import { ClusterError } from '@tessera/shared/errors';
import type { LocalNode } from '../controlapi/index.js';

/** This host's `tsd` by its local socket, as docs/building.md describes it. */
export function localNode(socketPath: string): LocalNode {
  return {
    async leave(force, signal) {
      const { status, text } = await post(socketPath, `/leave?force=${force}`, signal);
      if (status === 202) return;
      const kind = status === 503 ? 'unavailable' : 'internal';
      throw new ClusterError(kind, messageOf(text) || `tsd answered ${status} to leave`);
    },
  };
}

function post(
  socketPath: string,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, method: 'POST', signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    sent.on('error', (cause) =>
      reject(new ClusterError('unavailable', `cannot reach tsd at ${socketPath}`, { cause })),
    );
    sent.end();
  });
}

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: unknown }).message ?? '');
  } catch {
    return text;
  }
}
