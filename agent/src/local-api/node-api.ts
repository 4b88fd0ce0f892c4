import {
  type HostFacts,
  type InfoCounts,
  infoDocument,
  NOT_A_MANAGER,
  NOT_IN_A_SWARM,
  pingHeaders,
  type SwarmInfo,
  versionDocument,
} from '@tessera/shared/docker-api';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { z } from 'zod';
import type { Handler, Reply, Request } from './http-server.js';

const AVAILABILITY = z.enum(['active', 'pause', 'drain', '']).optional();

/** Body of `POST /swarm/init`, Docker Engine API v1.24 and later. Empty means not given, as Docker's clients send it. */
const INIT = z.object({
  ListenAddr: z.string().default(''),
  AdvertiseAddr: z.string().default(''),
  DataPathAddr: z.string().default(''),
  DataPathPort: z.number().int().min(0).max(65_535).nullish(),
  DefaultAddrPool: z.array(z.string()).nullish(),
  SubnetSize: z.number().int().min(0).max(29, 'must be a prefix length of at most 29').nullish(),
  ForceNewCluster: z.boolean().default(false),
  AutoLockManagers: z.boolean().default(false),
  Availability: AVAILABILITY,
  Spec: z.unknown().optional(),
});

const JOIN = z.object({
  ListenAddr: z.string().default(''),
  AdvertiseAddr: z.string().default(''),
  DataPathAddr: z.string().default(''),
  RemoteAddrs: z.array(z.string()).min(1),
  JoinToken: z.string().min(1),
  Availability: AVAILABILITY,
});

export type InitRequest = z.infer<typeof INIT>;
export type JoinRequest = z.infer<typeof JOIN>;

/** What the API asks of the node. */
export interface NodeBackend {
  /** @returns the node's id */
  init(request: InitRequest): Promise<string>;
  join(request: JoinRequest): Promise<void>;
  leave(force: boolean): Promise<void>;
  swarm(): SwarmInfo;
  role(): 'worker' | 'manager' | undefined;
  host(): HostFacts;
  counts(): InfoCounts;
}

/** The Docker Engine API as far as a node without a running manager can serve it. */
export function nodeApi(node: NodeBackend): Handler {
  return async (request) => {
    const key = `${request.method === 'HEAD' ? 'GET' : request.method} ${request.path}`;
    switch (key) {
      case 'GET /_ping':
        return { status: 200, body: 'OK', headers: pingHeaders(pingState(node)) };
      case 'GET /version':
        return { status: 200, body: versionDocument(node.host()) };
      case 'GET /info':
        return { status: 200, body: infoDocument(node.host(), node.swarm(), node.counts()) };
      case 'POST /swarm/init':
        return {
          status: 200,
          body: JSON.stringify(await node.init(parseBody(INIT, request))),
          headers: { 'Content-Type': 'application/json' },
        };
      case 'POST /swarm/join':
        await node.join(parseBody(JOIN, request));
        return { status: 200 };
      case 'POST /swarm/leave':
        await node.leave(isTrue(request.query.get('force')));
        return { status: 200 };
      default:
        return refuse(node);
    }
  };
}

function pingState(node: NodeBackend): 'inactive' | 'pending' | 'active/worker' | 'active/manager' {
  const state = node.swarm().LocalNodeState;
  if (state === 'inactive') return 'inactive';
  // Never `active/manager` from here: that is how the manager's own answer is known.
  return state === 'active' && node.role() === 'worker' ? 'active/worker' : 'pending';
}

/** What dockerd answers to everything that needs a manager. */
function refuse(node: NodeBackend): Reply {
  const { LocalNodeState, Error: reason } = node.swarm();
  if (LocalNodeState === 'inactive') throw new ClusterError('unavailable', NOT_IN_A_SWARM);
  if (node.role() === 'worker') throw new ClusterError('unavailable', NOT_A_MANAGER);
  throw new ClusterError(
    'unavailable',
    `this node's manager is not running yet${reason ? ` (${reason})` : ''}: try again in a moment`,
  );
}

function parseBody<T>(schema: z.ZodType<T>, { body }: Request): T {
  const result = schema.safeParse(body ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`);
}

/** Docker's reading of a boolean in a query: anything but these is true. */
const isTrue = (text: string | null): boolean =>
  text !== null && !['', '0', 'no', 'false', 'none'].includes(text.trim().toLowerCase());
