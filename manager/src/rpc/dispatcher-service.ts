import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Logger } from '@tessera/shared/env';
import { ClusterError, toServiceError } from '@tessera/shared/errors';
import { type AgentMessage, DispatcherService, type ManagerMessage } from '@tessera/shared/wire';
import type { Dispatcher, ImageLocator, SessionHandle, SessionTransport } from '../dispatcher/index.js';
import { type Caller, RemovedNodeError } from './caller.js';
import type { RpcServer } from './rpc-server.js';

type SessionStream = ServerDuplexStream<AgentMessage, ManagerMessage>;

/** Puts the dispatcher on the wire. The node is the certificate's, whatever a message says. */
export function serveDispatcher(
  server: RpcServer,
  dispatcher: Dispatcher,
  locator: ImageLocator,
  logger: Logger,
): void {
  server.duplex(
    DispatcherService.session,
    (stream, caller) => serveSession(stream, caller, dispatcher, logger),
    dismissRemoved,
  );
  server.unary(DispatcherService.locateImage, async ({ imageId }, caller) =>
    locator.locate(caller!.nodeId, imageId),
  );
}

function serveSession(
  stream: SessionStream,
  { nodeId }: Caller,
  dispatcher: Dispatcher,
  logger: Logger,
): void {
  let handle: SessionHandle | undefined;
  const transport = streamTransport(stream);
  const fail = (error: unknown) => transport.close(error instanceof ClusterError ? error : asInternal(error));
  stream.on('data', (message: AgentMessage) => {
    try {
      if (handle) handle.receive(message);
      else if (message.body?.$case === 'register')
        handle = dispatcher.openSession(nodeId, message.body.value, transport);
      else throw new ClusterError('invalidArgument', 'a session begins with Register');
    } catch (error) {
      if (!(error instanceof ClusterError)) logger.error({ 'node.id': nodeId, error }, 'session failed');
      fail(error);
    }
  });
  stream.on('drain', () => handle?.drained());
  const closed = () => {
    handle?.closed();
    // The agent has said its last word; without ours the stream would stay half open.
    transport.close();
  };
  stream.on('end', closed);
  stream.on('cancelled', closed);
  stream.on('close', closed);
}

function streamTransport(stream: SessionStream): SessionTransport {
  let open = true;
  return {
    send: (message) => open && stream.write(message),
    close(error) {
      if (!open) return;
      open = false;
      if (error) stream.emit('error', toServiceError(error));
      else stream.end();
    },
  };
}

function dismissRemoved(stream: SessionStream, error: unknown): boolean {
  if (!(error instanceof RemovedNodeError)) return false;
  stream.write({ body: { $case: 'dismiss', value: { reason: error.message, removed: true } } });
  stream.end();
  return true;
}

const asInternal = (cause: unknown) => new ClusterError('internal', 'the session failed', { cause });
