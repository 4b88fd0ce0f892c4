import {
  type AnswerBody,
  type FilesOf,
  type PathFacts,
  type PathIn,
  putArchive,
  readPath,
  readRoot,
  sendPath,
  sendRoot,
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
import { withAnswerBody, withRequestBody } from './lent-connection.js';

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
  switch (request.verb) {
    case 'put':
      return withVolumes(loop, () => takeArchive(loop, request, stream, stop));
    case 'get':
      return withVolumes(loop, () => giveArchive(loop, request, stream, stop));
    default:
      return giveArchive(loop, request, stream, stop);
  }
}

/** As dockerd tells it: who looks for a path in a container mounts its volumes first, and lets go of them at the end. */
async function withVolumes<T>(loop: ContainerLoop, work: () => Promise<T>): Promise<T> {
  const { mounts } = loop.assignment.container?.spec ?? { mounts: [] };
  if (!mounts.some(({ type }) => type === 'volume')) return work();
  loop.note('mount');
  try {
    return await work();
  } finally {
    loop.note('unmount');
  }
}

async function takeArchive(
  loop: ContainerLoop,
  { path, noOverwriteDirNonDir, copyUidGid, lends }: ArchiveRequest,
  stream: FrameStream,
  stop: AbortController,
): Promise<void> {
  const { assignment, runtime } = loop;
  await withRequestBody(stream, lends, stop, (input) => {
    return runtime.useFiles(
      assignment,
      (files, image, signal) => {
        const user = copyUidGid ? assignment.container?.spec?.user || image.config.user : '';
        const options = { keepKind: noOverwriteDirNonDir, user };
        return putArchive(files, pathIn(path).path, options, input, signal);
      },
      stop.signal,
    );
  });
  loop.note('extract-to-dir');
}

async function giveArchive(
  loop: ContainerLoop,
  { verb, path, lends }: ArchiveRequest,
  stream: FrameStream,
  stop: AbortController,
): Promise<void> {
  const { assignment, runtime } = loop;
  await withAnswerBody(stream, lends, stop, (answer) => {
    return runtime.useFiles(
      assignment,
      (files, _, signal) => {
        if (verb === 'get') return sendArchive(files, pathIn(path), loop, answer, stream, signal);
        loop.note('export');
        return sendExport(files, answer, stream, signal);
      },
      stop.signal,
    );
  });
}

async function sendExport(
  files: FilesOf,
  answer: AnswerBody | undefined,
  stream: FrameStream,
  signal: AbortSignal,
): Promise<void> {
  if (answer) await sendRoot(files, answer, signal);
  else await sendAll(readRoot(files, signal), stream);
}

async function sendArchive(
  files: FilesOf,
  where: PathIn,
  loop: ContainerLoop,
  answer: AnswerBody | undefined,
  stream: FrameStream,
  signal: AbortSignal,
): Promise<void> {
  const tell = (facts: PathFacts) => {
    loop.note('archive-path');
    return stream.write({ $case: 'callResult', value: { result: statResult(where, facts) } });
  };
  if (answer) return sendPath(files, where, answer, tell, signal);
  const { facts, content } = await readPath(files, where, signal);
  await tell(facts);
  await sendAll(content, stream);
}

async function sendAll(content: AsyncIterable<Uint8Array>, stream: FrameStream): Promise<void> {
  for await (const piece of content)
    for (const part of frameSized(piece)) await stream.write({ $case: 'data', value: part });
}

export async function statCall(loop: ContainerLoop, path: string, signal: AbortSignal): Promise<Result> {
  const { assignment, runtime } = loop;
  const where = pathIn(path);
  const facts = await withVolumes(loop, () =>
    runtime.useFiles(assignment, (files, _, both) => statPath(files, where, both), signal),
  );
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
