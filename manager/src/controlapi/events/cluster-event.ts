/** Something that happened, in Docker's words. */
export interface ClusterEvent {
  readonly type: 'container' | 'network' | 'image' | 'node' | 'service' | 'volume';
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** When it happened, as far as whoever saw it says. */
  readonly atMs: number;
  /** Of a network that each node has for itself. */
  readonly isLocal?: boolean;
}

/** Before it is known when. */
export type Draft = Omit<ClusterEvent, 'atMs'> & { readonly atMs?: number };
