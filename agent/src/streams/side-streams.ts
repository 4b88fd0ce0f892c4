import type { HelperInput } from '@tessera/native';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, errorText } from '@tessera/shared/errors';
import type { FrameSocket } from '@tessera/shared/frames';
import type { Image } from '@tessera/shared/model';
import type { ImageImportRequest, StreamRequest } from '@tessera/shared/wire';
import type { TaskLogs } from '../executor/task-logs.js';
import type { ImageStore } from '../image/image-store.js';
import type { RegistryImages, SavedName } from '../image/index.js';
import type { NodeCredentials } from '../session/index.js';
import type { Volumes } from '../volumes/index.js';
import type { ContainerStreams } from './container-streams.js';
import type { CommitImage } from './file-streams.js';
import { frameSized } from './frame-sized.js';
import { FrameStream } from './frame-stream.js';
import { watchEnd, withRequestBody } from './lent-connection.js';
import { connectLocally } from './local-manager.js';
import { logBatches } from './log-batches.js';
import { ManagerConnections } from './manager-connections.js';
import { pullImage, pushImage } from './registry-streams.js';
import { SpareStreams } from './spare-streams.js';

/** Streams under way at once. Beyond it the asker is refused: a bound on what followers may cost a host. */
const STREAMS_MAX = 256;
/** Progress lines that wait for a slow reader; further ones are left out. */
const PROGRESS_WAITING_MAX = 100;

/** Images, as far as side streams move them. */
export type StreamedImages = Pick<ImageStore, 'load' | 'remove'> & {
  /** Makes an image of one layer's tar, where this node can. */
  import?(
    wanted: ImageImportRequest,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Image>;
  /** An archive of these images, as Docker writes it. */
  save(images: readonly SavedName[], signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Makes an image of what a container has written, where this host keeps images. */
  commit?: CommitImage;
  /** The way to registries, where this host has one. */
  readonly registry?: RegistryImages | undefined;
};

export interface SideStreamsOptions {
  readonly credentials: () => NodeCredentials;
  /** Where a manager is reached from here that the cluster knows by this address. */
  readonly dialledAt: (managerAddr: string) => string;
  /** The unix socket of a manager on this host, by the same address. */
  readonly localSocket?: (managerAddr: string) => string | undefined;
  readonly logs: TaskLogs;
  readonly images: StreamedImages;
  readonly volumes?: Volumes;
  /** Absent: this node has tasks alone. */
  readonly containers?: ContainerStreams;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Serves what managers ask of this agent beside the session: logs, image content, and a container's own streams. */
export class SideStreams {
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #connections: ManagerConnections;
  readonly #spares: SpareStreams;

  constructor(private readonly options: SideStreamsOptions) {
    this.#connections = new ManagerConnections(options.clock);
    this.#spares = new SpareStreams(options.clock, (request, stream) => this.open(request, stream));
  }

  /** Calls the asker, unless it has asked on a stream that waited for it, and serves it. Returns at once. */
  open(request: StreamRequest, spare?: FrameSocket): void {
    if (this.#closing.signal.aborted) return;
    const done = this.#serve(request, spare).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** Whether none is under way. */
  get isIdle(): boolean {
    return this.#underWay.size === 0;
  }

  async close(): Promise<void> {
    this.#closing.abort(new DOMException('the agent stops', 'AbortError'));
    this.#spares.close();
    await Promise.all(this.#underWay);
    this.#connections.close();
  }

  async #serve(request: StreamRequest, spare: FrameSocket | undefined): Promise<void> {
    const stop = new AbortController();
    const onClosing = () => stop.abort(this.#closing.signal.reason);
    this.#closing.signal.addEventListener('abort', onClosing, { once: true });
    try {
      const socket = await this.#reach(request, spare, stop.signal);
      await this.#serveOn(new FrameStream(socket, request.streamId, stop.signal), request, stop);
    } catch (error) {
      // Whoever asked waits for no stream for ever.
      this.#failed(request, error);
    } finally {
      this.#closing.signal.removeEventListener('abort', onClosing);
      stop.abort(new DOMException('the stream has ended', 'AbortError'));
    }
  }

  async #serveOn(stream: FrameStream, request: StreamRequest, stop: AbortController): Promise<void> {
    try {
      if (this.#underWay.size >= STREAMS_MAX)
        throw new ClusterError('resourceExhausted', `this node serves ${STREAMS_MAX} streams already`);
      await this.#answer(request, stream, stop);
      await stream.finish();
    } catch (error) {
      this.#failed(request, error);
      await stream.fail(error).catch(() => undefined);
    } finally {
      await stream.close();
    }
  }

  #failed({ streamId }: StreamRequest, error: unknown): void {
    this.options.logger.debug({ 'stream.id': streamId, reason: errorText(error) }, 'side stream failed');
  }

  /** By the manager's own socket, where it is of this host. */
  async #reach(
    { managerAddr }: StreamRequest,
    spare: FrameSocket | undefined,
    signal: AbortSignal,
  ): Promise<FrameSocket> {
    const { credentials, dialledAt, localSocket } = this.options;
    const path = localSocket?.(managerAddr);
    const local = spare ?? (path === undefined ? undefined : await connectLocally(path));
    if (local && path !== undefined) {
      this.#spares.keep(path);
      return local;
    }
    return this.#connections.open(dialledAt(managerAddr), credentials(), signal);
  }

  async #answer({ kind }: StreamRequest, stream: FrameStream, stop: AbortController): Promise<void> {
    switch (kind?.$case) {
      case 'logs': {
        // The reader's going ends the reading, also while no line comes.
        watchEnd(stream, stop);
        for await (const records of logBatches(this.options.logs.read(kind.value, stop.signal)))
          await stream.write({ $case: 'logs', value: { records } });
        return;
      }
      case 'imageLoad':
        return withRequestBody(stream, kind.value.lends, stop, (input) =>
          this.#loadImages(input, stream, kind.value.quiet, stop.signal),
        );
      case 'imageImport': {
        const image = await this.options.images.import?.(kind.value, stream.data(), stop.signal);
        return stream.write({ $case: 'imageLoaded', value: { image } });
      }
      case 'imageRemove':
        return this.options.images.remove(kind.value.imageId);
      case 'imageSave': {
        const { more } = kind.value;
        for await (const piece of this.options.images.save([kind.value, ...more], stop.signal))
          for (const part of frameSized(piece)) await stream.write({ $case: 'data', value: part });
        return;
      }
      case 'imagePull':
        return pullImage(this.#registry(), kind.value, stream, stop);
      case 'imagePush':
        return pushImage(this.#registry(), kind.value, stream, stop);
      case 'registry': {
        const answer = await this.#registry().ask(kind.value, stop.signal);
        return stream.write({ $case: 'data', value: Buffer.from(JSON.stringify(answer)) });
      }
      case 'volumeUsage':
        return stream.write({
          $case: 'volumeUsage',
          value: { usages: (await this.options.volumes?.usages(kind.value.names, stop.signal)) ?? [] },
        });
      default:
        if (kind && (await this.options.containers?.serve(kind, stream, stop))) return;
        throw new ClusterError(
          'unimplemented',
          'this version of the agent does not know that kind of stream',
        );
    }
  }

  #registry(): RegistryImages {
    const { registry } = this.options.images;
    if (registry) return registry;
    throw new ClusterError('unimplemented', 'this node has no way to registries');
  }

  async #loadImages(
    input: HelperInput,
    stream: FrameStream,
    quiet: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    let waiting = 0;
    let sent = Promise.resolve();
    const progress = (line: string) => {
      if (quiet || waiting >= PROGRESS_WAITING_MAX) return;
      waiting++;
      sent = sent.then(() => stream.write({ $case: 'progress', value: line })).finally(() => waiting--);
      // Whether the reader is still there shows when the result is written.
      sent.catch(() => undefined);
    };
    const images = await this.options.images.load(input, progress, signal);
    await sent;
    for (const image of images) await stream.write({ $case: 'imageLoaded', value: { image } });
  }
}
