import { once } from 'node:events';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { ClusterError, toServiceError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { BlobChunk, GetBlobRequest, PeerServer } from '@tessera/shared/wire';
import { blobsOf } from './image-records.js';
import type { ImageStore } from './image-store.js';

type BlobCall = ServerWritableStream<GetBlobRequest, BlobChunk>;

export interface PeerServerOptions {
  readonly images: Pick<ImageStore, 'readBlob'> & { get(imageId: string): Image | undefined };
  /** The node id in the certificate that the caller has shown. @throws ClusterError `unauthenticated` */
  readonly callerNodeId: (call: BlobCall) => string;
  /** Rejects with `permissionDenied` unless the token names this node and image and still holds. */
  readonly verifyToken: (token: string, nodeId: string, imageId: string) => Promise<void>;
}

/** Serves blobs to other agents: those of the image that their token names, and no others. */
export function peerServer(options: PeerServerOptions): PeerServer {
  return {
    getBlob(call: BlobCall): void {
      const cancelled = new AbortController();
      call.on('cancelled', () => cancelled.abort());
      serve(options, call, cancelled.signal).catch((error: unknown) => {
        if (!cancelled.signal.aborted) call.emit('error', toServiceError(error));
      });
    },
  };
}

async function serve(options: PeerServerOptions, call: BlobCall, signal: AbortSignal): Promise<void> {
  const { imageId, digest, token, offset } = call.request;
  await options.verifyToken(token, options.callerNodeId(call), imageId);
  const image = options.images.get(imageId);
  if (!image || !blobsOf(image).includes(digest)) {
    throw new ClusterError('notFound', `image ${imageId} with blob ${digest} is not on this node`);
  }
  const { sizeBytes, content } = await options.images.readBlob(digest, offset);
  let totalBytes = sizeBytes;
  for await (const data of content) {
    // Leaving the loop closes the file.
    if (signal.aborted) return;
    if (!call.write({ data: Buffer.from(data), totalBytes })) await once(call, 'drain', { signal });
    totalBytes = 0;
  }
  // The first chunk tells the size, even where there is nothing to send.
  if (totalBytes > 0) call.write({ data: Buffer.alloc(0), totalBytes });
  call.end();
}
