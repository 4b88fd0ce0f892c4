import { lstat, realpath, stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { basename, posix, resolve } from 'node:path';
import { Transform } from 'node:stream';
import { decimalSize } from '@tessera/shared/units';
import type { Cli, Verb } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { type CopyEnd, type CopySource, parseCopyEnd, planCopy, splitPath } from '../../files/copy-paths.js';
import { packPath } from '../../files/pack.js';
import { unpackInto } from '../../files/unpack.js';
import { refuseTerminal, writeArchive } from '../../output/archive.js';

interface CpFlags {
  readonly archive: boolean;
  readonly followLink: boolean;
  readonly quiet: boolean;
}

/** A path in a container. */
type Inside = CopyEnd & { readonly container: string };

/** X-Docker-Container-Path-Stat; modes are Go's. */
interface PathStatJson {
  readonly mode: number;
  readonly linkTarget: string;
}

const GO_DIRECTORY = 2 ** 31;
const GO_LINK = 2 ** 27;
/** Links, devices, FIFOs, sockets, and what Go knows no kind for. */
const GO_IRREGULAR = [2 ** 27, 2 ** 26, 2 ** 25, 2 ** 24, 2 ** 21, 2 ** 19];

export const cp: Verb = (noun, cli) => {
  noun
    .command('cp')
    .description('Copy files between a container and this machine')
    .argument('<source>', 'CONTAINER:PATH, a path here, or - for an archive from standard input')
    .argument('<target>', 'CONTAINER:PATH, a path here, or - for an archive to standard output')
    .option('-a, --archive', "give what is copied in to the container's user", false)
    .option('-L, --follow-link', 'copy what the source leads to, if it is a link', false)
    .option('-q, --quiet', 'say nothing; nor is anything said where the output is no terminal', false)
    .action(async (source: string, target: string, flags: CpFlags) => {
      if (source === '') throw new CliError('source can not be empty');
      if (target === '') throw new CliError('destination can not be empty');
      const from = parseCopyEnd(source);
      const to = parseCopyEnd(target);
      if (isInside(from) && isInside(to)) throw new CliError('copying between containers is not supported');
      if (isInside(from)) return copyOut(cli, from, to.path, flags);
      if (isInside(to)) return copyIn(cli, from.path, to, flags);
      throw new CliError('must specify at least one container source');
    });
};

const isInside = (end: CopyEnd): end is Inside => end.container !== undefined;
const isKind = (mode: number, bit: number): boolean => Math.floor(mode / bit) % 2 === 1;
const urlOf = (container: string): string => `/containers/${encodeURIComponent(container)}/archive`;

// ---- out of a container

async function copyOut(cli: Cli, { container, path }: Inside, target: string, flags: CpFlags): Promise<void> {
  if (target === '-') {
    refuseTerminal(cli, undefined, `tsctl cp ${container}:${path} - > files.tar`);
    return writeArchive(cli, await cli.api.stream('GET', urlOf(container), { query: { path } }), undefined);
  }
  const local = localPath(target);
  const known = await kindHere(local);
  if (!known) await checkParent(local);
  const source = flags.followLink ? await followedInside(cli, container, path) : { path };
  const response = await cli.api.stream('GET', urlOf(container), { query: { path: source.path } });
  try {
    const isDirectory = isKind(statOf(response).mode, GO_DIRECTORY);
    const from = splitPath(source.path).base;
    const plan = planCopy(
      { path: source.path, isDirectory },
      { path: local, isDirectory: known?.isDirectory },
    );
    // What a link leads to comes under the name of the link.
    const { dir, rename = source.name === undefined ? undefined : { from, to: source.name } } = plan;
    const counted = new Counter();
    const pieces = response.pipe(counted);
    response.on('error', (error) => counted.destroy(error));
    const leftOut = await unpackInto(pieces, { dir: await realpath(dir), rename });
    for (const name of leftOut) cli.out.note(`"${name}" is a device or FIFO: left out`);
    tell(cli, flags, counted.bytes, local);
    if (leftOut.length > 0) throw new CliError('');
  } finally {
    response.destroy();
  }
}

/** Where the path leads if it is a link, and what it was called. */
async function followedInside(
  cli: Cli,
  container: string,
  path: string,
): Promise<{ readonly path: string; readonly name?: string }> {
  const found = await statInside(cli, container, path);
  if (!found || !isKind(found.mode, GO_LINK)) return { path };
  const { dir, base } = splitPath(path);
  const target = posix.resolve('/', dir, found.linkTarget);
  return base === posix.basename(target) || base === '.' ? { path: target } : { path: target, name: base };
}

// ---- into a container

async function copyIn(cli: Cli, source: string, { container, path }: Inside, flags: CpFlags): Promise<void> {
  const { target, found } = await targetInside(cli, container, path);
  const query = { noOverwriteDirNonDir: true, copyUIDGID: flags.archive || undefined };
  if (found && GO_IRREGULAR.some((bit) => isKind(found.mode, bit)))
    throw new CliError(`destination "${container}:${path}" must be a directory or a regular file`);
  const isDirectory = found && isKind(found.mode, GO_DIRECTORY);
  if (source === '-') {
    if (!isDirectory) throw new CliError(`destination "${container}:${path}" must be a directory`);
    await cli.api.call('PUT', urlOf(container), {
      query: { ...query, path: target },
      upload: cli.input.stream,
    });
    return;
  }
  const here = await sourceHere(source, flags.followLink);
  const { dir, rename } = planCopy(here, { path: target, isDirectory });
  const counted = new Counter();
  const archive = await packPath(here.path, rename?.to ?? here.name ?? splitPath(here.path).base);
  archive.on('error', (error) => counted.destroy(error));
  await cli.api.call('PUT', urlOf(container), {
    query: { ...query, path: dir },
    upload: archive.pipe(counted),
  });
  tell(cli, flags, counted.bytes, `${container}:${target}`);
}

/** A link is followed once, as docker does: the engine has followed it to its end. */
async function targetInside(
  cli: Cli,
  container: string,
  path: string,
): Promise<{ readonly target: string; readonly found: PathStatJson | undefined }> {
  const found = await statInside(cli, container, path);
  if (!found || !isKind(found.mode, GO_LINK)) return { target: path, found };
  const target = posix.resolve('/', splitPath(path).dir, found.linkTarget);
  return { target, found: await statInside(cli, container, target) };
}

/** Source: moby pkg/archive/copy.go, CopyInfoSourcePath. */
async function sourceHere(source: string, followLink: boolean): Promise<CopySource> {
  const given = localPath(source);
  const { base } = splitPath(given);
  const path = followLink ? await realpath(given).catch(missingHere(given)) : given;
  const facts = await lstat(path).catch(missingHere(path));
  const name = base !== '.' && followLink && basename(path) !== base ? base : undefined;
  const content = followLink && base === '.' ? `${path}/.` : path;
  return { path: content, isDirectory: facts.isDirectory(), ...(name === undefined ? {} : { name }) };
}

// ---- both

/** Undefined where there is nothing, or the question fails: then the copy itself says why. */
async function statInside(cli: Cli, container: string, path: string): Promise<PathStatJson | undefined> {
  try {
    const response = await cli.api.stream('HEAD', urlOf(container), { query: { path } });
    response.resume();
    return statOf(response);
  } catch {
    cli.signal.throwIfAborted();
    return undefined;
  }
}

function statOf({ headers }: IncomingMessage): PathStatJson {
  const text = Buffer.from(String(headers['x-docker-container-path-stat'] ?? ''), 'base64').toString();
  try {
    return JSON.parse(text) as PathStatJson;
  } catch {
    throw new CliError('unable to decode container path stat header');
  }
}

/** Absolute; "/" and "/." at its end mean something and stay. */
function localPath(path: string): string {
  const absolute = resolve(path);
  const end = /(^|\/)\.$/.test(path) ? '/.' : path.endsWith('/') ? '/' : '';
  return absolute === '/' ? `/${end.slice(1)}` : `${absolute}${end}`;
}

async function kindHere(path: string): Promise<{ readonly isDirectory: boolean } | undefined> {
  const facts = await stat(path).catch(() => undefined);
  if (facts && !facts.isDirectory() && !facts.isFile())
    throw new CliError(`invalid output path: "${path}" must be a directory or a regular file`);
  return facts && { isDirectory: facts.isDirectory() };
}

async function checkParent(path: string): Promise<void> {
  const { dir } = splitPath(path);
  if (!(await kindHere(dir))) throw new CliError(`invalid output path: directory "${dir}" does not exist`);
}

const missingHere =
  (path: string) =>
  (error: NodeJS.ErrnoException): never => {
    const why = error.code === 'ENOENT' ? 'no such file or directory' : error.message;
    throw new CliError(`lstat ${path}: ${why}`);
  };

function tell({ out }: Cli, { quiet }: CpFlags, bytes: number, where: string): void {
  if (!quiet && out.isTty) out.note(`Successfully copied ${decimalSize(bytes)} to ${where}`);
}

class Counter extends Transform {
  bytes = 0;
  constructor() {
    super({ highWaterMark: 1 << 18 });
  }
  override _transform(piece: Buffer, _: BufferEncoding, done: (error: null, piece: Buffer) => void): void {
    this.bytes += piece.length;
    done(null, piece);
  }
}
