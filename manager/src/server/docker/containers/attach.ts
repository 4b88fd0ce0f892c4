import { ClusterError, invalid } from '@tessera/shared/errors';
import type { ContainerCalls, Containers, KnownContainer } from '../../../controlapi/containers/index.js';
import type { ControlContext } from '../../../controlapi/index.js';
import type { ApiRequest, Hijack, Route } from '../../route.js';
import { isTrue } from '../json-edge.js';
import { logOptions } from '../logs.js';
import { streamType } from '../multiplexed.js';
import { parseDetachKeys } from './detach-keys.js';
import { logLines } from './logs.js';
import { joined } from './streams.js';

/** `/containers/:id/attach`, and the same over a WebSocket. */
export function attachRoutes(
  containers: Containers,
  calls: ContainerCalls,
  { logBroker }: ControlContext,
): Route[] {
  /** What has been written up to now, and no more. */
  const history = ({ container }: KnownContainer, request: ApiRequest, isRaw: boolean): Hijack => ({
    contentType: streamType(request.version, isRaw),
    serve: async (connection) => {
      const selector = { kind: 'container', containerId: container.id } as const;
      const entries = logBroker.logs(selector, { ...logOptions(request), follow: false }, request.signal);
      const style = { timestamps: false, details: false };
      for await (const chunk of logLines(entries, style, isRaw, false)) await connection.write(chunk);
    },
  });

  const attach = async (request: ApiRequest, isWebSocket: boolean): Promise<Hijack> => {
    const { params, query, signal, version } = request;
    const one = await containers.find(params.id!, assertAttachable, signal);
    const { container } = one;
    const tty = container.spec?.tty ?? false;
    const asked = {
      stdin: isTrue(query.get('stdin')),
      stdout: isTrue(query.get('stdout')),
      stderr: isTrue(query.get('stderr')),
      logs: isTrue(query.get('logs')),
      stream: isTrue(query.get('stream')),
    };
    if (!asked.logs && !asked.stream)
      throw invalid('Bad parameters: you must choose at least one of logs and stream');
    if (!asked.stream) return history(one, request, tty || isWebSocket);
    const style = {
      version,
      // Over a WebSocket the two streams are one.
      tty: tty || isWebSocket,
      stdin: asked.stdin && asked.stream && (container.spec?.openStdin ?? false),
      detachKeys: tty ? parseDetachKeys(query.get('detachKeys') ?? '') : [],
    };
    const value = { containerId: container.id, ...asked, stdin: style.stdin };
    return joined(await calls.open(one, { $case: 'containerAttach', value }, signal), style);
  };

  return [
    {
      kind: 'hijack',
      method: 'POST',
      pattern: '/containers/:id/attach',
      handle: (request) => attach(request, false),
    },
    {
      kind: 'websocket',
      method: 'GET',
      pattern: '/containers/:id/attach/ws',
      handle: (request) => attach(request, true),
    },
  ];
}

/** Source: moby daemon/attach.go. */
function assertAttachable({ container, state }: KnownContainer): void {
  if (state.state === 'paused')
    throw new ClusterError(
      'conflict',
      `container ${container.id} is paused, unpause the container before attach`,
    );
  if (state.state === 'restarting')
    throw new ClusterError(
      'conflict',
      `container ${container.id} is restarting, wait until the container is running`,
    );
}
