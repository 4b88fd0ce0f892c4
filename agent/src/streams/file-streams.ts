import {
  type PathFacts,
  type PathIn,
  putArchive,
  readPath,
  readRoot,
  statPath,
  writeLayer,
  writtenPaths,
} from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import {
  type ArchiveRequest,
  type ChangesResult,
  type CommitCall,
  type ContainerCallResult,
  FileChange,
  PathStat,
} from '@tessera/shared/wire';
import type { ContainerLoop } from '../containers/index.js';
import { pathIn } from '../executor/container/path-in.js';
import type { CommitRequest, WriteLayer } from '../image/index.js';
import { frameSized } from './frame-sized.js';
import type { FrameStream } from './frame-stream.js';

type Result = NonNullable<ContainerCallResult['result']>;

/** More than anybody reads; each takes some hundred bytes on its way. */
const CHANGES_MAX = 10_000;

/** Makes an image of what a container has written. */
export type CommitImage = (
  request: CommitRequest,
  writeLayer: WriteLayer,
  signal: AbortSignal,
) => Promise<Image>;

/** docker cp and export: an archive of a container's files, either way. */
export async function serveArchive(
  loop: ContainerLoop,
  request: ArchiveRequest,
  stream: FrameStream,
  stop: AbortController,
): Promise<void> {
  const { assignment, runtime } = loop;
  const { verb, path, noOverwriteDirNonDir, copyUidGid } = request;
  if (verb === 'put') {
    await runtime.useFiles(
      assignment,
      (files, image, signal) => {
        const user = copyUidGid ? assignment.container?.spec?.user || image.config.user : '';
        const options = { keepKind: noOverwriteDirNonDir, user };
        return putArchive(files, pathIn(path).path, options, stream.data(), signal);
      },
      stop.signal,
    );
    return loop.note('extract-to-dir');
  }
  // The reader's going ends the reading, also while nothing can be sent.
  const gone = () => stop.abort(new DOMException('the reader has gone', 'AbortError'));
  stream.ended().then(gone, gone);
  await runtime.useFiles(
    assignment,
    async (files, _, signal) => {
      if (verb === 'export') {
        const content = readRoot(files, signal);
        loop.note('export');
        return sendAll(content, stream);
      }
      const where = pathIn(path);
      const { facts, content } = await readPath(files, where, signal);
      loop.note('archive-path');
      await stream.write({ $case: 'callResult', value: { result: statResult(where, facts) } });
      await sendAll(content, stream);
    },
    stop.signal,
  );
}

async function sendAll(content: AsyncIterable<Uint8Array>, stream: FrameStream): Promise<void> {
  for await (const piece of content)
    for (const part of frameSized(piece)) await stream.write({ $case: 'data', value: part });
}

export async function statCall(
  { assignment, runtime }: ContainerLoop,
  path: string,
  signal: AbortSignal,
): Promise<Result> {
  const where = pathIn(path);
  const facts = await runtime.useFiles(assignment, (files, _, both) => statPath(files, where, both), signal);
  return statResult(where, facts);
}

const statResult = ({ name }: PathIn, { mode, size, seconds, nanos, link }: PathFacts): Result => ({
  $case: 'stat',
  value: PathStat.fromPartial({
    name,
    sizeBytes: size,
    mode,
    modifiedAtSeconds: seconds,
    modifiedAtNanos: nanos,
    linkTarget: link,
  }),
});

export async function changesCall(
  { assignment, runtime }: ContainerLoop,
  signal: AbortSignal,
): Promise<{ readonly $case: 'changes'; readonly value: ChangesResult }> {
  const changes = await runtime.useFiles(
    assignment,
    (files, _, both) => writtenPaths(files, CHANGES_MAX, both),
    signal,
  );
  return { $case: 'changes', value: { changes: changes.map((change) => FileChange.fromPartial(change)) } };
}

export async function commitCall(
  { assignment, runtime }: ContainerLoop,
  call: CommitCall,
  commit: CommitImage | undefined,
  signal: AbortSignal,
): Promise<Result> {
  if (!commit) throw new ClusterError('unimplemented', 'this node cannot make images');
  const work = () =>
    runtime.useFiles(
      assignment,
      async (files, { id }, both) => {
        const request = { ...call, baseId: id };
        return commit(request, (fd) => writeLayer(files, fd, both), both);
      },
      signal,
    );
  const image = await (call.pause ? runtime.whileFrozen(work, signal) : work());
  return { $case: 'image', value: image };
}
