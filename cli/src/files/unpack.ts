import { createWriteStream } from 'node:fs';
import { chmod, link, lstat, lutimes, mkdir, rm, symlink, utimes } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ExtractEvents, Header } from 'tar-stream';
import { CliError } from '../cli-error.js';
import { type CopyPlan, renamed } from './copy-paths.js';

/** What a container may not give to a file here: another's rights to whoever runs it. */
const MODE_MASK = 0o1777;

/**
 * Unpacks an archive that a container made, which may mean ill: nothing is made outside the plan's directory, or through
 * a link, whatever the archive says. All of it belongs to who runs this, as with docker.
 *
 * @returns what has no place here: devices, and whatever else this cannot make
 * @throws CliError what the archive has no right to
 */
export async function unpackInto(archive: AsyncIterable<Uint8Array>, plan: CopyPlan): Promise<string[]> {
  const { extract } = await import('tar-stream');
  const entries = extract();
  // Whoever asks for the content of an entry once the archive is broken would wait for ever.
  const broken = new AbortController();
  const unpacker = new Unpacker(plan, broken.signal);
  const feeding = pipeline(Readable.from(archive, { objectMode: false }), entries);
  feeding.catch((error: unknown) => broken.abort(error));
  try {
    for await (const entry of entries) await unpacker.take(entry);
    await feeding;
  } catch (error) {
    if (error instanceof CliError) throw error;
    const reason: unknown = broken.signal.aborted ? broken.signal.reason : error;
    throw new CliError(`unpacking what came: ${(reason as Error).message}`);
  }
  await unpacker.finish();
  return unpacker.leftOut;
}

/** One thing in the archive, and what is in it. */
type Entry = ExtractEvents['entry'][1];

class Unpacker {
  readonly leftOut: string[] = [];
  /** Modes and times of directories are set when nothing is made in them any more. */
  readonly #directories: { readonly path: string; readonly header: Header }[] = [];

  constructor(
    private readonly plan: CopyPlan,
    private readonly signal: AbortSignal,
  ) {}

  async take(entry: Entry): Promise<void> {
    const { header } = entry;
    const path = await this.#placeOf(renamed(header.name, this.plan.rename));
    if (path !== undefined) await this.#make(path, entry);
    entry.resume();
  }

  async finish(): Promise<void> {
    for (const { path, header } of this.#directories.reverse()) {
      await chmod(path, modeOf(header));
      await setTimes(path, header);
    }
  }

  async #make(path: string, entry: Entry): Promise<void> {
    const { header } = entry;
    await this.#checkKind(path, header);
    switch (header.type) {
      case 'directory':
        await mkdir(path, { mode: 0o700 }).catch(unlessThere);
        this.#directories.push({ path, header });
        return;
      case 'file':
      case 'contiguous-file':
        await rm(path, { force: true });
        // Only a file that was not there: nothing is written through a link.
        await pipeline(entry, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal: this.signal });
        await chmod(path, modeOf(header));
        return setTimes(path, header);
      case 'symlink':
        this.#checkTarget(path, header);
        await rm(path, { force: true });
        await symlink(header.linkname ?? '', path);
        if (header.mtime) await lutimes(path, header.mtime, header.mtime);
        return;
      case 'link': {
        const target = await this.#placeOf(renamed(header.linkname ?? '', this.plan.rename));
        if (target === undefined)
          throw new CliError(`invalid hardlink "${header.name}" -> "${header.linkname}"`);
        if (target === path) return;
        await rm(path, { force: true });
        return link(target, path);
      }
      default:
        this.leftOut.push(header.name);
    }
  }

  /** Where an entry lies; undefined: it is the directory itself. Every directory on the way is one, and no link. */
  async #placeOf(name: string): Promise<string | undefined> {
    const parts = posix
      .normalize(`./${name}`)
      .split('/')
      .filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || name.includes('\0')) throw outside(name, this.plan.dir);
    let path = this.plan.dir;
    for (const part of parts.slice(0, -1)) {
      path = join(path, part);
      const facts = await lstat(path).catch(unlessMissing);
      if (!facts) await mkdir(path, { mode: 0o755 });
      else if (!facts.isDirectory())
        throw new CliError(`"${name}" leads through "${path}", which is no directory`);
    }
    return parts.length === 0 ? undefined : join(path, parts.at(-1)!);
  }

  /** Source: moby pkg/archive, Unpack with NoOverwriteDirNonDir. */
  async #checkKind(path: string, { type }: Header): Promise<void> {
    const facts = await lstat(path).catch(unlessMissing);
    if (!facts || facts.isDirectory() === (type === 'directory')) return;
    const [is, comes] = facts.isDirectory() ? ['directory', 'non-directory'] : ['non-directory', 'directory'];
    throw new CliError(`cannot overwrite ${is} "${path}" with ${comes} "${this.plan.dir}"`);
  }

  /** A link that climbs out of what is unpacked, as Docker refuses it. An absolute one leads nowhere yet. */
  #checkTarget(path: string, { name, linkname }: Header): void {
    const { dir } = this.plan;
    const target = posix.join(dirname(path), linkname ?? '');
    if (linkname && (target === dir || target.startsWith(dir === '/' ? '/' : `${dir}/`))) return;
    throw new CliError(`invalid symlink "${name}" -> "${linkname}"`);
  }
}

const modeOf = ({ mode }: Header): number => (mode ?? 0o644) & MODE_MASK;

async function setTimes(path: string, { mtime }: Header): Promise<void> {
  if (mtime) await utimes(path, mtime, mtime);
}

const outside = (name: string, dir: string): CliError => new CliError(`"${name}" is outside of "${dir}"`);

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function unlessThere(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'EEXIST') throw error;
}
