import { notFound } from '@tessera/shared/errors';
import type { Handler } from './http-server.js';

/** What `GET /status` on the local socket tells. */
export interface NodeStatusReport {
  readonly state: string;
  readonly nodeId: string;
  readonly role: 'worker' | 'manager' | undefined;
  readonly managerAddrs: readonly string[];
  readonly session: { readonly managerAddr: string; readonly sessionId: string } | null;
  /** Tasks here that have not ended. */
  readonly taskCount: number;
}

/** The API between this host's agent and its manager: docs/building.md. */
export function localApi(node: {
  status(): NodeStatusReport;
  /** Checks that this node may leave, and begins; the rest goes on after the reply. */
  beginLeave(force: boolean): void;
}): Handler {
  return ({ method, path, query }) => {
    switch (`${method} ${path}`) {
      case 'GET /status':
        return { status: 200, body: node.status() };
      case 'POST /leave':
        node.beginLeave(['1', 'true'].includes(query.get('force') ?? ''));
        return { status: 202, body: {} };
      default:
        throw notFound('page', path);
    }
  };
}
