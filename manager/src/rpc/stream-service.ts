import type { Socket } from 'node:net';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, errorKindOf, errorText } from '@tessera/shared/errors';
import { FrameSocket, onFirstFrame } from '@tessera/shared/frames';
import type { StreamBroker } from '../streams/index.js';
import type { Caller } from './caller.js';
import type { RpcServer } from './rpc-server.js';

/**
 * Takes side streams from the nodes of the cluster, one after the other on each connection. The first frame says which
 * one it is, the rest belongs to who asked for it.
 */
export function serveSideStreams(
  server: RpcServer,
  broker: Pick<StreamBroker, 'accept'>,
  clock: Clock,
  logger: Logger,
): void {
  server.frames((socket, authorize) => serveNext(socket, authorize));

  function serveNext(socket: Socket, authorize: () => Promise<Caller>): void {
    const stream = new FrameSocket(socket, { clock, onFree: (free) => serveNext(free, authorize) });
    stream.on('error', (error) => logger.debug({ reason: errorText(error) }, 'a stream broke'));
    onFirstFrame(stream, ({ body }) => {
      // Each of them anew: a node may have been removed since its last one.
      authorize()
        .then(({ nodeId }) => {
          if (body?.$case !== 'open')
            throw new ClusterError('invalidArgument', 'a side stream begins with its id');
          broker.accept(nodeId, body.value, stream);
        })
        .catch((error: unknown) => {
          logger.debug({ reason: errorText(error) }, 'a stream was refused');
          stream.end({
            body: { $case: 'error', value: { kind: errorKindOf(error), message: errorText(error) } },
          });
          stream.resume();
        });
    });
  }
}
