import { ClusterError } from '@tessera/shared/errors';
import { ArchiveRequest, type PathStat } from '@tessera/shared/wire';
import { exchange, type SideStream } from '../../streams/index.js';
import type { ContainerCalls } from './calls.js';
import type { KnownContainer } from './lookup.js';

export interface PutOptions {
  readonly noOverwriteDirNonDir: boolean;
  readonly copyUidGid: boolean;
}

/** A path in a container, and what the container was called by whoever asks. */
export interface PathOf {
  readonly container: KnownContainer;
  readonly calledBy: string;
  readonly path: string;
}

/** The files of containers, on whichever node they are. */
export class ContainerFiles {
  constructor(private readonly calls: ContainerCalls) {}

  /** @throws ClusterError `notFound` in Docker's words */
  stat({ container, path, ...rest }: PathOf, signal: AbortSignal): Promise<PathStat> {
    return this.calls
      .call(container, { $case: 'stat', value: { path } }, 'stat', signal)
      .catch(missing({ path, ...rest }));
  }

  /** An archive of what is at a path. Its reader ends it by going. @throws ClusterError `notFound` */
  async get(
    { container, path, ...rest }: PathOf,
    signal: AbortSignal,
  ): Promise<{ readonly stat: PathStat; readonly content: AsyncIterable<Uint8Array> }> {
    const stream = await this.#open(container, { verb: 'get', path }, signal);
    const frames = stream.frames[Symbol.asyncIterator]();
    try {
      const { value } = await frames.next();
      const result = value?.body?.$case === 'callResult' ? value.body.value.result : undefined;
      if (result?.$case !== 'stat')
        throw new ClusterError('internal', 'the node did not say what is at the path');
      return { stat: result.value, content: dataOf(stream, { [Symbol.asyncIterator]: () => frames }) };
    } catch (error) {
      stream.close();
      return missing({ path, ...rest })(error);
    }
  }

  /** Takes an archive in. @throws ClusterError `notFound`, `invalidArgument`: what the node says of it */
  async put(
    { container, path, ...rest }: PathOf,
    options: PutOptions,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const stream = await this.#open(container, { verb: 'put', path, ...options }, signal);
    try {
      await exchange(stream, content, () => {});
      stream.close();
    } catch (error) {
      stream.close(error);
      missing({ path, ...rest })(error);
    }
  }

  /** An archive of the whole root, without what is mounted in it. */
  async export(container: KnownContainer, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.#open(container, { verb: 'export' }, signal);
    return dataOf(stream, stream.frames);
  }

  #open(
    container: KnownContainer,
    request: Partial<ArchiveRequest>,
    signal: AbortSignal,
  ): Promise<SideStream> {
    const value = ArchiveRequest.fromPartial({ ...request, containerId: container.container.id });
    return this.calls.open(container, { $case: 'archive', value }, signal);
  }
}

async function* dataOf(stream: SideStream, frames: SideStream['frames']): AsyncGenerator<Uint8Array> {
  try {
    for await (const { body } of frames) if (body?.$case === 'data') yield body.value;
  } finally {
    stream.close();
  }
}

/** The node knows the container by its id alone. */
const missing =
  ({ path, calledBy }: Pick<PathOf, 'path' | 'calledBy'>) =>
  (error: unknown): never => {
    if (
      error instanceof ClusterError &&
      error.kind === 'notFound' &&
      error.message.startsWith('no such file')
    )
      throw new ClusterError('notFound', `Could not find the file ${path} in container ${calledBy}`);
    throw error;
  };
