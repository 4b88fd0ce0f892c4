import { ClusterError } from '@tessera/shared/errors';
import { ArchiveRequest, type Frame, type PathStat } from '@tessera/shared/wire';
import { exchange, type Lendable, Lending, type SideStream, type Upload } from '../../streams/index.js';
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

/** What is read here, or what the node writes on its reader's connection itself, from the call on. */
export type FileContent = AsyncIterable<Uint8Array> | (() => Promise<void>);

/** The files of containers, on whichever node they are. */
export class ContainerFiles {
  constructor(private readonly calls: ContainerCalls) {}

  /** @throws ClusterError `notFound` in Docker's words */
  stat({ container, path, ...rest }: PathOf, signal: AbortSignal): Promise<PathStat> {
    return this.calls
      .call(container, { $case: 'stat', value: { path } }, 'stat', signal)
      .catch(missing({ path, ...rest }));
  }

  /**
   * An archive of what is at a path. Its reader ends it by going.
   *
   * @param connection where it may be written by the node itself
   * @throws ClusterError `notFound`
   */
  async get(
    { container, path, ...rest }: PathOf,
    signal: AbortSignal,
    connection?: Lendable,
  ): Promise<{ readonly stat: PathStat; readonly content: FileContent }> {
    const lends = connection !== undefined;
    const stream = await this.#open(container, { verb: 'get', path, lends }, signal);
    const frames = stream.frames[Symbol.asyncIterator]();
    try {
      const isTaken = await offer(stream, frames, connection);
      const result = await resultOf(frames);
      if (result?.$case !== 'stat')
        throw new ClusterError('internal', 'the node did not say what is at the path');
      return { stat: result.value, content: contentOf(stream, frames, isTaken) };
    } catch (error) {
      stream.close();
      return missing({ path, ...rest })(error);
    }
  }

  /** Takes an archive in. @throws ClusterError `notFound`, `invalidArgument`: what the node says of it */
  async put(
    { container, path, ...rest }: PathOf,
    options: PutOptions,
    content: Upload,
    signal: AbortSignal,
  ): Promise<void> {
    const { connection } = content;
    const request = { verb: 'put', path, lends: connection !== undefined, ...options } as const;
    const stream = await this.#open(container, request, signal);
    try {
      await exchange(stream, content, () => {}, connection);
      stream.close();
    } catch (error) {
      stream.close(error);
      missing({ path, ...rest })(error);
    }
  }

  /** An archive of the whole root, without what is mounted in it. */
  async export(container: KnownContainer, signal: AbortSignal, connection?: Lendable): Promise<FileContent> {
    const stream = await this.#open(container, { verb: 'export', lends: connection !== undefined }, signal);
    const frames = stream.frames[Symbol.asyncIterator]();
    try {
      return contentOf(stream, frames, await offer(stream, frames, connection));
    } catch (error) {
      stream.close();
      throw error;
    }
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

type Frames = AsyncIterator<Frame>;

/** @returns whether the node has taken the connection */
async function offer(stream: SideStream, frames: Frames, connection: Lendable | undefined): Promise<boolean> {
  if (!connection || !stream.isLocal) return false;
  await new Lending(connection).offer(stream);
  const { value } = await frames.next();
  if (value?.body?.$case !== 'connectionTaken')
    throw new ClusterError('internal', 'the node did not say whether it writes itself');
  return value.body.value;
}

/** What the node says of the connection that it has been lent may come first: it needs none for a refusal. */
async function resultOf(frames: Frames) {
  for (;;) {
    const { value } = await frames.next();
    if (value?.body?.$case === 'connectionTaken') continue;
    return value?.body?.$case === 'callResult' ? value.body.value.result : undefined;
  }
}

function contentOf(stream: SideStream, frames: Frames, isTaken: boolean): FileContent {
  if (!isTaken) return dataOf(stream, frames);
  return async () => {
    try {
      await stream.write({ body: { $case: 'ready', value: true } });
      while (!(await frames.next()).done);
    } finally {
      stream.close();
    }
  };
}

async function* dataOf(stream: SideStream, frames: Frames): AsyncGenerator<Uint8Array> {
  try {
    for await (const { body } of { [Symbol.asyncIterator]: () => frames })
      if (body?.$case === 'data') yield body.value;
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
