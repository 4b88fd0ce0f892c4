import { connect } from 'node:net';
import { FrameSocket } from '@tessera/shared/frames';

/** A stream with the manager of this host by its socket; undefined where none listens there. */
export function connectLocally(path: string): Promise<FrameSocket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(new FrameSocket(socket));
    });
    socket.once('error', () => resolve(undefined));
  });
}
