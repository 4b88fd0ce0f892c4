import { ClusterError, isTemporary } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Frame } from '@tessera/shared/wire';
import type { View } from '../store/view.js';
import type { SideStream, StreamKind } from '../streams/index.js';
import type { ControlContext } from './ports.js';

/** How long a node may take to say that it holds what it has just been given. */
const HELD_TIMEOUT_MS = 10_000;
/** After so many that cannot be reached, the fault is elsewhere. */
const NODES_ASKED_MAX = 3;

type FrameBody = NonNullable<Frame['body']>;

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

/** The ready node that holds most of these images, this manager's own before others; it may be none of them. */
export function findLargestHolder(view: View, imageIds: readonly string[], ownNodeId: string): string {
  const own = chooseNode(view, ownNodeId);
  const heldBy = (nodeId: string) =>
    imageIds.filter((id) => view.nodeStatuses.get(nodeId)?.imageDigests.includes(id)).length;
  return [...view.nodeStatuses.all()]
    .filter(({ state }) => state === 'ready')
    .reduce((best, { nodeId }) => (heldBy(nodeId) > heldBy(best) ? nodeId : best), own);
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
): AsyncGenerator<FrameBody> {
  yield* bodies(await streams.requestStream(nodeId, kind, signal));
}

/**
 * The same, of whichever node can be reached, this manager's own first: one that is ready may have lost its agent a
 * moment ago.
 */
export async function askAnyNode(
  context: ControlContext,
  kind: StreamKind,
  signal: AbortSignal,
): Promise<{ readonly nodeId: string; readonly answer: AsyncGenerator<FrameBody> }> {
  const view = await context.store.read();
  const first = chooseNode(view, context.nodeId);
  const others = [...view.nodeStatuses.all()].filter(
    ({ state, nodeId }) => state === 'ready' && nodeId !== first,
  );
  let fault: unknown;
  for (const nodeId of [first, ...others.map(({ nodeId }) => nodeId)].slice(0, NODES_ASKED_MAX)) {
    try {
      const stream = await context.streams.requestStream(nodeId, kind, signal);
      return { nodeId, answer: bodies(stream) };
    } catch (error) {
      signal.throwIfAborted();
      fault ??= error;
      if (!isTemporary(error)) throw error;
    }
  }
  throw fault;
}

async function* bodies(stream: SideStream): AsyncGenerator<FrameBody> {
  try {
    for await (const { body } of stream.frames) if (body) yield body;
  } finally {
    stream.close();
  }
}

/** Where the image is at a registry: repositories with host, by the digest that leads to it there. */
export const repositoriesOf = (image: Image): string[] =>
  image.repoDigests.map((text) => text.slice(0, text.indexOf('@')));
