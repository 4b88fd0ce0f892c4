import { closeSync } from 'node:fs';
import { ClusterError } from '@tessera/shared/errors';
import { type AnswerBody, giveBack, type HelperInput, readingFrom, writingTo } from './connection.js';
import { Helper, type HelperOptions, openPidfd, type ReportLine } from './helper.js';
import { layerReport, type UnpackReport } from './unpack.js';

/** Address space of the helper: names of large directories, and libarchive. */
const MEMORY_MAX_BYTES = 512 * 2 ** 20;

/**
 * Helpers at once, whosever files they work on: each is two processes, and a client that takes nothing keeps its own.
 * One more is refused, since a queue behind such clients would stand still.
 */
const RUNNING_MAX = 64;
let running = 0;

/** Whose files: the spec says where they are and what is mounted; a running container's own mounts count. */
export interface FilesOf {
  readonly spec: Uint8Array;
  /** A pidfd of one of its processes, while it runs. It is the caller's. */
  readonly processFd?: number;
}

/** A path in a container. */
export interface PathIn {
  /** Absolute and clean: no ".", no "..", no slash at the end but for the root. */
  readonly path: string;
  /** It leads through a link at its end, and must end at a directory. */
  readonly follow: boolean;
  /** What it is called in an archive. */
  readonly name: string;
}

/** What is at a path, as stat(2) gives it. */
export interface PathFacts {
  readonly mode: number;
  readonly size: number;
  readonly seconds: number;
  readonly nanos: number;
  /** Where a link leads in the end, within the container; else empty. */
  readonly link: string;
}

/** @throws ClusterError `notFound` */
export async function statPath(files: FilesOf, where: PathIn, signal: AbortSignal): Promise<PathFacts> {
  const helper = start(files, ['stat'], { where }, signal);
  const first = await firstReport(helper);
  await helper.finish();
  return factsOf(first);
}

/** What is at a path, and an archive of it. The content must be read to its end, or the signal be aborted. */
export async function readPath(
  files: FilesOf,
  where: PathIn,
  signal: AbortSignal,
): Promise<{ readonly facts: PathFacts; readonly content: AsyncIterable<Uint8Array> }> {
  const helper = start(files, ['get'], { where, output: 'pipe' }, signal);
  const facts = factsOf(await firstReport(helper));
  return { facts, content: whole(helper) };
}

/**
 * The same, written on a client's connection by the helper itself.
 *
 * @param onFacts what is at the path; the body begins when `body` says so
 */
export async function sendPath(
  files: FilesOf,
  where: PathIn,
  body: AnswerBody,
  onFacts: (facts: PathFacts) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const helper = start(files, ['get'], { where, ...writingTo(body) }, signal);
  await onFacts(factsOf(await firstReport(helper))).catch(async (error: unknown) => {
    helper.kill();
    await helper.finish().catch(() => {});
    throw error;
  });
  await helper.finish();
}

/** An archive of the whole root, without what is mounted in it. */
export function readRoot(files: FilesOf, signal: AbortSignal): AsyncIterable<Uint8Array> {
  return whole(start(files, ['export'], { output: 'pipe' }, signal));
}

/** The same, written on a client's connection by the helper itself. */
export async function sendRoot(files: FilesOf, body: AnswerBody, signal: AbortSignal): Promise<void> {
  await start(files, ['export'], writingTo(body), signal).finish();
}

export interface PutOptions {
  /** An existing directory is not replaced by something else, nor something else by a directory. */
  readonly keepKind: boolean;
  /** Whom all of it belongs to, "user[:group]"; empty: whom the archive says. */
  readonly user: string;
}

/** Takes an archive in at a directory. @throws ClusterError `notFound`, `invalidArgument` in Docker's words */
export async function putArchive(
  files: FilesOf,
  path: string,
  { keepKind, user }: PutOptions,
  input: HelperInput,
  signal: AbortSignal,
): Promise<void> {
  const where = { path, follow: true, name: '/' };
  const flags = [...(keepKind ? ['--keep-kind'] : []), ...(user === '' ? [] : [`--user=${user}`])];
  try {
    await start(files, [...flags, 'put'], { where, ...readingFrom(input) }, signal).finish();
  } finally {
    giveBack(input);
  }
}

export interface WrittenPath {
  readonly kind: 'added' | 'modified' | 'deleted';
  readonly path: string;
}

const CHANGES: Readonly<Record<string, WrittenPath['kind']>> = { A: 'added', C: 'modified', D: 'deleted' };

/** What the container has written, in the order of the paths. */
export async function writtenPaths(
  files: FilesOf,
  countMax: number,
  signal: AbortSignal,
): Promise<WrittenPath[]> {
  const helper = start(files, ['changes'], { output: 'pipe' }, signal);
  const changes: WrittenPath[] = [];
  let rest = Buffer.alloc(0);
  for await (const piece of helper.output) {
    rest = Buffer.concat([rest, piece]);
    let begin = 0;
    for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0, begin)) {
      const record = rest.toString('utf8', begin, end);
      changes.push({ kind: CHANGES[record[0] ?? ''] ?? 'modified', path: record.slice(1) });
      begin = end + 1;
    }
    rest = rest.subarray(begin);
    if (changes.length > countMax) helper.kill();
  }
  if (changes.length > countMax) {
    await helper.finish().catch(() => {});
    throw new ClusterError('resourceExhausted', `the container has changed more than ${countMax} paths`);
  }
  await helper.finish();
  return changes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** What the container has written as a layer of an image, compressed by gzip, into a file. */
export async function writeLayer(files: FilesOf, fileFd: number, signal: AbortSignal): Promise<UnpackReport> {
  return layerReport(await start(files, ['layer'], { output: fileFd }, signal).finish());
}

/**
 * Does something with a pidfd of a container's process.
 *
 * @param isOurs whether the process of that pid is the container's, asked after it has been opened
 */
export async function withProcess<T>(
  pid: number,
  isOurs: () => Promise<boolean>,
  work: (processFd: number) => Promise<T>,
): Promise<T> {
  const fd = openPidfd(pid);
  try {
    if (!(await isOurs())) throw new ClusterError('conflict', 'the container has just ended');
    return await work(fd);
  } finally {
    closeSync(fd);
  }
}

function start(
  { spec, processFd }: FilesOf,
  words: readonly string[],
  { where, arguments: more = [], ...streams }: { readonly where?: PathIn } & Partial<HelperOptions>,
  signal: AbortSignal,
): Helper {
  const path = where
    ? [`--path=${where.path}`, `--name=${where.name}`, ...(where.follow ? ['--follow'] : [])]
    : [];
  if (running >= RUNNING_MAX)
    throw new ClusterError(
      'resourceExhausted',
      `${RUNNING_MAX} clients are at containers' files on this node already: try again when one has done`,
    );
  const mounts = processFd === undefined ? [] : ['--running'];
  const helper = new Helper(
    'ts-archive',
    {
      arguments: [`--memory-max=${MEMORY_MAX_BYTES}`, ...path, ...mounts, ...more, ...words],
      ...streams,
      spec,
      ...(processFd === undefined ? {} : { processFd }),
    },
    signal,
  );
  running++;
  void helper.exited.then(() => {
    running--;
  });
  return helper;
}

/** A failure that comes instead is thrown, once the helper is gone. */
async function firstReport(helper: Helper): Promise<ReportLine> {
  try {
    const first = await helper.report();
    if (first) return first;
  } catch (error) {
    await helper.finish().catch(() => {});
    throw error;
  }
  return helper.finish();
}

async function* whole(helper: Helper): AsyncGenerator<Uint8Array> {
  let hasEnded = false;
  try {
    yield* helper.output;
    hasEnded = true;
  } catch (error) {
    // What it says itself comes first: its output breaks off when it is killed.
    helper.kill();
    await helper.finish();
    throw error;
  } finally {
    // A reader that goes before the end wants no more of it.
    if (!hasEnded) {
      helper.kill();
      await helper.finish().catch(() => {});
    }
  }
  await helper.finish();
}

function factsOf({ stat }: ReportLine): PathFacts {
  const { mode, size, seconds, nanos, link } = (stat ?? {}) as Readonly<Record<string, unknown>>;
  if ([mode, size, seconds, nanos].every(Number.isSafeInteger) && typeof link === 'string')
    return { mode, size, seconds, nanos, link } as PathFacts;
  throw new ClusterError('internal', 'what a helper reports of a path makes no sense');
}
