import type { Endpoint, NetworkAssignment, VirtualService } from '@tessera/shared/wire';

/** What this node's part of the cluster's networks is to be. Whatever is not in it goes. */
export interface DesiredNetworks {
  /** Networks this node has, or is about to have, an endpoint on. */
  readonly networks: readonly NetworkAssignment[];
  /** Every endpoint of those networks, on this node and on others. */
  readonly endpoints: readonly Endpoint[];
  readonly virtualServices: readonly VirtualService[];
}

/** The bridge by which this node's containers reach the outside. */
export interface NatBridge {
  /** Its own address, with prefix length; empty while it has none. */
  readonly addr: string;
  /** Gives what ends the listening. */
  onChange(listener: () => void): () => void;
}

/** What the worker asks of the network part: bring the kernel to what the manager says. */
export interface NetworkPlane {
  /**
   * Resolves once everything in `desired` is in the kernel (bridges, VXLAN, forwarding, neighbours) and known
   * to the resolvers and balancers of the containers here. Called with the whole set each time; calls may
   * overlap, and one that a later call has overtaken may resolve with it.
   *
   * @param sequence the assignments' sequence number, acknowledged to the manager once this resolves
   */
  apply(desired: DesiredNetworks, sequence: number): Promise<void>;
}
