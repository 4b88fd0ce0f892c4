import { Metadata } from '@grpc/grpc-js';
import type { Clock } from '@tessera/shared/env';
import { ClusterError, fromServiceError } from '@tessera/shared/errors';
import {
  DispatcherClient,
  type ImageSource,
  type LocateImageResponse,
  PeerClient,
} from '@tessera/shared/wire';
import { managerChannelOptions, type NodeCredentials, nodeChannelCredentials } from '../session/index.js';

const LOCATE_TIMEOUT_MS = 10_000;

export interface ImageLocatorOptions {
  readonly credentials: () => NodeCredentials;
  /** Addresses of managers, the one with our session first. */
  readonly managerAddrs: () => readonly string[];
  readonly clock: Clock;
}

/** Asks managers where images are, and opens connections to the nodes that hold them. */
export class ImageLocator {
  constructor(private readonly options: ImageLocatorOptions) {}

  /** @throws ClusterError `unavailable` when no manager answers, or what the manager says */
  async locate(imageId: string, signal: AbortSignal): Promise<LocateImageResponse> {
    let failure = new ClusterError('unavailable', 'no manager address is known');
    for (const addr of this.options.managerAddrs()) {
      try {
        return await this.#ask(addr, imageId, signal);
      } catch (error) {
        signal.throwIfAborted();
        failure = fromServiceError(error);
        if (!['unavailable', 'deadlineExceeded'].includes(failure.kind)) throw failure;
      }
    }
    throw failure;
  }

  /** The peer proves that it is the node the manager named, whatever its address. */
  openPeer({ nodeId, peerAddr }: ImageSource): PeerClient {
    return new PeerClient(peerAddr, nodeChannelCredentials(this.options.credentials()), {
      ...managerChannelOptions,
      'grpc.ssl_target_name_override': nodeId,
      'grpc.default_authority': nodeId,
    });
  }

  async #ask(addr: string, imageId: string, signal: AbortSignal): Promise<LocateImageResponse> {
    const { credentials, clock } = this.options;
    const client = new DispatcherClient(addr, nodeChannelCredentials(credentials()), managerChannelOptions);
    try {
      return await new Promise((resolve, reject) => {
        const call = client.locateImage(
          { imageId },
          new Metadata(),
          { deadline: clock.now() + LOCATE_TIMEOUT_MS },
          (error, response) => (error ? reject(error) : resolve(response)),
        );
        signal.addEventListener('abort', () => call.cancel(), { once: true });
      });
    } finally {
      client.close();
    }
  }
}
