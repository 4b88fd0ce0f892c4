import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Frame } from '@tessera/shared/wire';
import type { View } from '../store/view.js';
import type { SideStream, StreamKind } from '../streams/index.js';
import type { ControlContext } from './ports.js';

/** How long a node may take to say that it holds what it has just been given. */
const HELD_TIMEOUT_MS = 10_000;

/** The manager's own node, since nothing need cross the network then; else any that is ready. */
export function chooseNode(view: View, ownNodeId: string): string {
  const ready = [...view.nodeStatuses.all()].filter(({ state }) => state === 'ready');
  const chosen = ready.find(({ nodeId }) => nodeId === ownNodeId) ?? ready[0];
  if (!chosen)
    throw new ClusterError('unavailable', 'no node is ready to take the image; see "tsctl node ls"');
  return chosen.nodeId;
}

/** A ready node that holds all of these images, this manager's own first. */
export function findHolder(view: View, imageIds: readonly string[], ownNodeId: string): string | undefined {
  const holders = [...view.nodeStatuses.all()].filter(
    ({ state, imageDigests }) => state === 'ready' && imageIds.every((id) => imageDigests.includes(id)),
  );
  return (holders.find(({ nodeId }) => nodeId === ownNodeId) ?? holders[0])?.nodeId;
}

/** Resolves once the node has said that it holds the image; late, rather than never, when it does not. */
export async function awaitHeld(
  { store, clock }: ControlContext,
  nodeId: string,
  imageId: string,
  signal: AbortSignal,
): Promise<void> {
  const holds = (view: View) => view.nodeStatuses.get(nodeId)?.imageDigests.includes(imageId) ?? false;
  if (holds(store.view())) return;
  await new Promise<void>((resolve, reject) => {
    const end = () => {
      unsubscribe();
      cancel();
      signal.removeEventListener('abort', onAbort);
    };
    const done = () => {
      end();
      resolve();
    };
    const onAbort = () => {
      end();
      reject(signal.reason as Error);
    };
    const unsubscribe = store.subscribe((_, view) => holds(view) && done());
    const cancel = clock.after(HELD_TIMEOUT_MS, done);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** What an agent answers a question of this kind, frame by frame; the stream ends with the reading. */
export async function* askNode(
  { streams }: ControlContext,
  nodeId: string,
  kind: StreamKind,
  signal: AbortSignal,
): AsyncGenerator<NonNullable<Frame['body']>> {
  const stream: SideStream = await streams.requestStream(nodeId, kind, signal);
  try {
    for await (const { body } of stream.frames) if (body) yield body;
  } finally {
    stream.close();
  }
}

/** Where the image is at a registry: repositories with host, by the digest that leads to it there. */
export const repositoriesOf = (image: Image): string[] =>
  image.repoDigests.map((text) => text.slice(0, text.indexOf('@')));
