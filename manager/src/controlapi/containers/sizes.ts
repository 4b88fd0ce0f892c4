import { ClusterError } from '@tessera/shared/errors';
import type { ContainerCalls } from './calls.js';
import type { KnownContainer } from './lookup.js';

/** Agents asked at once: each walks a container's files. */
const AT_ONCE = 16;

export interface ContainerSize {
  /** Bytes of the files in its own layer. */
  readonly writtenBytes: number;
  /** Those of its image as well. */
  readonly rootBytes: number;
}

/**
 * How large containers are, by id. One whose node cannot be reached now is left out, as nobody knows.
 *
 * @throws ClusterError what an agent that can be reached refused it with
 */
export async function sizesOf(
  calls: ContainerCalls,
  containers: readonly KnownContainer[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ContainerSize>> {
  const sizes = new Map<string, ContainerSize>();
  const waiting = [...containers];
  const work = async () => {
    for (let one = waiting.pop(); one; one = waiting.pop()) {
      const size = await sizeOf(calls, one, signal);
      if (size) sizes.set(one.container.id, size);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return sizes;
}

async function sizeOf(
  calls: ContainerCalls,
  one: KnownContainer,
  signal: AbortSignal,
): Promise<ContainerSize | undefined> {
  try {
    const { writtenBytes } = await calls.call(one, { $case: 'size', value: {} }, 'size', signal);
    const image = one.view.images.get(one.container.spec?.imageDigest ?? '');
    return { writtenBytes, rootBytes: writtenBytes + (image?.sizeBytes ?? 0) };
  } catch (error) {
    const isUnknown = error instanceof ClusterError && UNKNOWN.has(error.kind);
    if (!isUnknown || signal.aborted) throw error;
    return undefined;
  }
}

/** Its node is away, or it has just gone itself. */
const UNKNOWN = new Set(['unavailable', 'deadlineExceeded', 'notFound']);
