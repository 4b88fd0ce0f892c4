import { ClusterError } from '@tessera/shared/errors';
import { type FileChange, ResizeCall } from '@tessera/shared/wire';
import {
  type ContainerCalls,
  type Containers,
  isRunning,
  type KnownContainer,
} from '../../../controlapi/containers/index.js';
import { type ApiRequest, empty, json, type Route, route, type StreamReply } from '../../route.js';
import { isTrue } from '../json-edge.js';
import { sizeOf } from './size.js';
import { emptyStats, statsToDocker } from './stats-json.js';

const PS_ARGS_DEFAULT = '-ef';
/** Docker's numbers for what became of a file. */
const CHANGE_KINDS: Readonly<Record<string, number>> = { modified: 0, added: 1, deleted: 2 };
const ONE_SHOT_SINCE = 141;

/** What is asked of a container's agent: top, changes, resize, stats. */
export function callRoutes(containers: Containers, calls: ContainerCalls): Route[] {
  return [
    route('POST', '/containers/:id/resize', async ({ params, query, signal }) => {
      const one = await containers.inspect(params.id!);
      const value = ResizeCall.fromPartial(sizeOf(query));
      assertRunning(one);
      await calls.call(one, { $case: 'resize', value }, 'done', signal);
      return empty(200);
    }),

    route('GET', '/containers/:id/top', async ({ params, query, signal }) => {
      const one = await containers.inspect(params.id!);
      assertRunning(one);
      const value = { psArgs: query.get('ps_args') || PS_ARGS_DEFAULT };
      const { titles, processes } = await calls.call(one, { $case: 'top', value }, 'top', signal);
      return json(200, { Titles: titles, Processes: processes.map(({ columns }) => columns) });
    }),

    route('GET', '/containers/:id/changes', async ({ params, signal }) => {
      const one = await containers.inspect(params.id!);
      const { changes } = await calls.call(one, { $case: 'changes', value: {} }, 'changes', signal);
      return json(200, changes.length > 0 ? changes.map(changeToDocker) : null);
    }),

    {
      kind: 'stream',
      method: 'GET',
      pattern: '/containers/:id/stats',
      handle: async (request) => stats(calls, await containers.inspect(request.params.id!), request),
    },
  ];
}

const changeToDocker = ({ path, kind }: FileChange) => ({ Path: path, Kind: CHANGE_KINDS[kind] ?? 0 });

function assertRunning({ container, state }: KnownContainer): void {
  if (!isRunning(state)) throw new ClusterError('conflict', `container ${container.id} is not running`);
}

/**
 * Counters with those before them, for clients show what lies between two. Asked once, the answer takes as long as
 * between two readings, unless it is to be one shot.
 */
function stats(calls: ContainerCalls, one: KnownContainer, request: ApiRequest): StreamReply {
  const { query, version, signal } = request;
  const streams = !query.has('stream') || isTrue(query.get('stream'));
  const oneShot = !streams && version >= ONE_SHOT_SINCE && isTrue(query.get('one-shot'));
  const line = (body: object) => `${JSON.stringify(body)}\n`;
  return {
    contentType: 'application/json',
    early: streams,
    chunks: (async function* () {
      if (!isRunning(one.state)) {
        yield line(emptyStats(one));
        return;
      }
      let before: Parameters<typeof statsToDocker>[2];
      for await (const now of calls.stats(one, !oneShot, signal)) {
        if (streams || oneShot || before) yield line(statsToDocker(one, now, before));
        if (!streams && (oneShot || before)) return;
        before = now;
      }
    })(),
    onError: (message) => line({ message }),
  };
}
