import type { ServerDuplexStream } from '@grpc/grpc-js';
import { ClusterError, toServiceError } from '@tessera/shared/errors';
import { onFirstFrame } from '@tessera/shared/frames';
import { type Frame, SideStreamsService } from '@tessera/shared/wire';
import type { FrameStream, StreamBroker } from '../streams/index.js';
import type { RpcServer } from './rpc-server.js';

/** Puts side streams on the wire: the first frame says which one it is, the rest belongs to who asked for it. */
export function serveSideStreams(server: RpcServer, broker: StreamBroker): void {
  server.duplex(SideStreamsService.open, (stream: ServerDuplexStream<Frame, Frame>, { nodeId }) => {
    onFirstFrame(stream, ({ body }) => {
      try {
        if (body?.$case !== 'open')
          throw new ClusterError('invalidArgument', 'a side stream begins with its id');
        broker.accept(nodeId, body.value, stream as unknown as FrameStream);
      } catch (error) {
        stream.emit('error', toServiceError(error));
        stream.resume();
      }
    });
  });
}
