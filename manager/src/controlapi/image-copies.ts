import type { Image, NodeStatus } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { imageLabel } from './lookup.js';
import type { ControlContext } from './ports.js';

/** What no registry can give again is acknowledged when so many nodes hold it. */
const COPIES_WANTED = 2;
/** How long the copies may take before the answer says that they are still missing. */
const COPIES_TIMEOUT_MS = 120_000;

/**
 * Resolves once as many ready nodes hold the image as make it safe from the loss of one; late, with a warning, when they
 * do not.
 */
export async function awaitCopies(
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
