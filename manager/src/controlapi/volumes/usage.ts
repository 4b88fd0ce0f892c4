import { ClusterError } from '@tessera/shared/errors';
import type { SideStreams } from '../../streams/index.js';
import { type KnownVolume, usersOfVolume } from './lookup.js';

export interface VolumeUsage {
  /** -1: its node cannot be asked now. */
  readonly sizeBytes: number;
  /** Containers and tasks that have it. */
  readonly refCount: number;
}

/** How much room volumes take, by label: each node is asked once. */
export async function usagesOf(
  streams: SideStreams,
  volumes: readonly KnownVolume[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, VolumeUsage>> {
  const byNode = new Map<string, KnownVolume[]>();
  for (const one of volumes) byNode.set(one.nodeId, [...(byNode.get(one.nodeId) ?? []), one]);
  const usages = new Map<string, VolumeUsage>();
  await Promise.all(
    [...byNode].map(async ([nodeId, ofNode]) => {
      const sizes = nodeId === '' ? new Map() : await sizesOn(streams, nodeId, ofNode, signal);
      for (const one of ofNode)
        usages.set(one.label, {
          // One that no container has used yet takes nothing.
          sizeBytes: sizes?.get(one.name) ?? (nodeId === '' || sizes ? 0 : -1),
          refCount: usersOfVolume(one).length,
        });
    }),
  );
  return usages;
}

async function sizesOn(
  streams: SideStreams,
  nodeId: string,
  volumes: readonly KnownVolume[],
  signal: AbortSignal,
): Promise<Map<string, number> | undefined> {
  const value = { names: volumes.map(({ name }) => name) };
  try {
    const stream = await streams.requestStream(nodeId, { $case: 'volumeUsage', value }, signal);
    try {
      const sizes = new Map<string, number>();
      for await (const { body } of stream.frames)
        if (body?.$case === 'volumeUsage')
          for (const { name, sizeBytes } of body.value.usages) sizes.set(name, sizeBytes);
      return sizes;
    } finally {
      stream.close();
    }
  } catch (error) {
    if (error instanceof ClusterError && UNKNOWN.has(error.kind) && !signal.aborted) return undefined;
    throw error;
  }
}

/** The node is away. */
const UNKNOWN = new Set(['unavailable', 'deadlineExceeded', 'notFound']);
