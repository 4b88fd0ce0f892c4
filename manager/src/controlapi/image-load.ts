import { invalid } from '@tessera/shared/errors';
import type { Image, NodeStatus } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import type { SideStream } from '../streams/index.js';
import { chooseNode } from './image-nodes.js';
import { familiarName, normalizeName } from './image-reference.js';
import { addNames } from './images.js';
import { imageLabel } from './lookup.js';
import type { ControlContext } from './ports.js';

/** What no registry can give again is acknowledged when so many nodes hold it. */
const COPIES_WANTED = 2;
/** How long the copies may take before the answer says that they are still missing. */
const COPIES_TIMEOUT_MS = 120_000;
/** A frame's data stays below gRPC's default bound of 4 MiB for a message, with room to spare. */
const FRAME_BYTES_MAX = 256 * 1024;

/**
 * Loads an archive into the cluster: one node reads it, the names are written in one transaction for each image, and
 * the call returns when two ready nodes hold every image, or one where there is one.
 *
 * @param progress one line for people each
 * @throws ClusterError what the node's image store found wrong with the archive, or `unavailable` when there is no node
 */
export async function loadImages(
  context: ControlContext,
  archive: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Image[]> {
  const nodeId = chooseNode(await context.store.read(), context.nodeId);
  const stream = await context.streams.requestStream(
    nodeId,
    { $case: 'imageLoad', value: { quiet: false } },
    signal,
  );
  let images: readonly Image[];
  try {
    images = await exchange(stream, archive, progress);
  } catch (error) {
    stream.close(error);
    throw error;
  }
  stream.close();

  if (images.length === 0) throw invalid('the archive holds no image');
  for (const image of images) {
    await context.store.update((tx) => addNames(tx, image, image.names.map(normalizeName)));
  }
  for (const image of images) {
    for (const name of image.names) progress(`Loaded image: ${familiarName(normalizeName(name))}`);
    if (image.names.length === 0) progress(`Loaded image ID: ${image.configDigest}`);
  }
  for (const image of images) await awaitCopies(context, image, progress, signal);
  return images;
}

/** Sends the archive down while what the agent answers is read, since it may refuse half way. */
async function exchange(
  stream: SideStream,
  archive: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
): Promise<readonly Image[]> {
  const images: Image[] = [];
  const receive = async () => {
    for await (const { body } of stream.frames) {
      // What was loaded is said once, below, when its names have been written.
      if (body?.$case === 'progress' && !body.value.startsWith('Loaded image')) progress(body.value);
      if (body?.$case === 'imageLoaded' && body.value.image) images.push(body.value.image);
    }
  };
  const received = receive();
  // Its refusal is what the user must hear, not that the stream no longer takes what we send.
  const refused = received.then(
    () => undefined,
    (error: unknown) => error ?? new Error('refused'),
  );
  try {
    await send(stream, archive);
  } catch (error) {
    // The stream broke while writing, or the client went away while reading: the agent's word comes first.
    stream.close(error);
    throw (await refused) ?? error;
  }
  await received;
  return images;
}

async function send(stream: SideStream, archive: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of inFrames(archive)) {
    await stream.write({ body: { $case: 'data', value: piece } });
  }
  await stream.end();
}

/** What arrives in small pieces goes on in large ones: each frame waits for the one before it to be on its way. */
async function* inFrames(content: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + FRAME_BYTES_MAX - length);
      pieces.push(part);
      length += part.length;
      at += part.length;
      if (length < FRAME_BYTES_MAX) continue;
      yield Buffer.concat(pieces);
      pieces = [];
      length = 0;
    }
  }
  if (length > 0) yield Buffer.concat(pieces);
}

async function awaitCopies(
  context: ControlContext,
  image: Image,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock } = context;
  const { promise, resolve, reject } = withResolvers();
  const look = (view: View) => {
    if (missingCopies(view, image.id) === 0) resolve();
  };
  const onAbort = () => reject(signal.reason as Error);
  const unsubscribe = store.subscribe((_, view) => look(view));
  const cancel = clock.after(COPIES_TIMEOUT_MS, () => {
    progress(
      `Warning: ${imageLabel(image)} is held by fewer than ${COPIES_WANTED} nodes so far; if the one that has it is lost now, the image is lost`,
    );
    resolve();
  });
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    look(store.view());
    await promise;
  } finally {
    unsubscribe();
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** How many more ready nodes must hold an image until it is safe from the loss of one. */
export function missingCopies(view: View, imageId: string): number {
  // What a registry gives again is held where it is needed.
  if ((view.images.get(imageId)?.repoDigests.length ?? 0) > 0) return 0;
  const ready: NodeStatus[] = [...view.nodeStatuses.all()].filter(
    ({ state, nodeId }) => state === 'ready' && view.nodes.get(nodeId) !== undefined,
  );
  const holders = ready.filter(({ imageDigests }) => imageDigests.includes(imageId));
  return Math.max(0, Math.min(COPIES_WANTED, ready.length) - holders.length);
}

function withResolvers(): {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
} {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
