import { connect } from 'node:net';
import { FrameSocket } from '@tessera/shared/frames';
import type { StreamRequest } from '@tessera/shared/wire';

type Kind = NonNullable<StreamRequest['kind']>['$case'];

/** What moves whole images. */
const BULK: readonly Kind[] = ['imageLoad', 'imageImport', 'imageSave'];

/** Whether a stream of this kind moves so much that the way it goes matters. */
export const isBulk = ({ kind }: StreamRequest): boolean => kind !== undefined && BULK.includes(kind.$case);

/** A stream with the manager of this host by its socket; undefined where none listens there. */
export function connectLocally(path: string): Promise<FrameSocket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(new FrameSocket(socket));
    });
    socket.once('error', () => resolve(undefined));
  });
}
