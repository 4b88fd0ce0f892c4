import { mkdir, open, opendir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { clear } from '@tessera/native';
import { type Logger, newHexId, type Random } from '@tessera/shared/env';
import { z } from 'zod';

// <data-dir>/volumes:
//   NAME/volume.json   what the volume is
//   NAME/_data         what containers see of it
//   NAME/.fill…        a copy of an image's files on its way in (native/fill/fill.h)
//   .new-…             one that is being made: it counts once it has been renamed
//   .trash/            those that are being deleted
//   .left/NAME.ID      of a cluster that knows them no longer, in the way of another one of that name
//   .empty             a directory that is and stays empty

const DATA = '_data';
const RECORD = 'volume.json';
const NEW = '.new-';

const schema = z.object({
  version: z.literal(1),
  name: z.string(),
  volumeId: z.string(),
  driver: z.string(),
  labels: z.record(z.string(), z.string()),
  options: z.record(z.string(), z.string()),
  createdAtMs: z.number(),
});

/** A volume on this host. */
export interface VolumeRecord {
  readonly name: string;
  /** The cluster's; empty: this node has it for itself. */
  readonly volumeId: string;
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
}

/** The volumes on the disk. Each appears and disappears in one rename. */
export class VolumeDirectory {
  private constructor(
    readonly path: string,
    private readonly random: Random,
    private readonly logger: Logger,
  ) {}

  /** Opens the directory, and deletes what an earlier agent was making or deleting when it died. */
  static async open(path: string, random: Random, logger: Logger): Promise<VolumeDirectory> {
    for (const name of ['', '.trash', '.left', '.empty'])
      await mkdir(join(path, name), { recursive: true, mode: 0o700 });
    const directory = new VolumeDirectory(path, random, logger);
    const halves = (await readdir(path))
      .filter((name) => name.startsWith(NEW))
      .map((name) => join(path, name));
    const discarded = (await readdir(join(path, '.trash'))).map((name) => join(path, '.trash', name));
    await directory.#delete([...halves, ...discarded]);
    return directory;
  }

  get empty(): string {
    return join(this.path, '.empty');
  }

  /** The volume's own directory. */
  of = (name: string): string => join(this.path, name);

  /** What containers see of it. */
  dataOf = (name: string): string => join(this.path, name, DATA);

  async read(): Promise<VolumeRecord[]> {
    const names = (await readdir(this.path)).filter((name) => !name.startsWith('.'));
    const found = await Promise.all(names.map((name) => this.#readOne(name)));
    return found.flatMap((record) => record ?? []);
  }

  async #readOne(name: string): Promise<VolumeRecord | undefined> {
    try {
      const text = await readFile(join(this.path, name, RECORD), 'utf8');
      return { ...schema.parse(JSON.parse(text)), name };
    } catch (error) {
      // Its data may be worth a look; a volume of that name cannot be made until someone has had one.
      this.logger.error({ error, path: this.of(name) }, 'what lies among the volumes here is none');
      return undefined;
    }
  }

  async make(record: VolumeRecord): Promise<void> {
    const made = join(this.path, NEW + newHexId(this.random).slice(0, 16));
    await mkdir(made, { mode: 0o700 });
    await writeRecord(made, record);
    await mkdir(join(made, DATA), { mode: 0o755 });
    await rename(made, this.of(record.name));
    await syncDirectory(this.path);
  }

  /** Replaces what is written of a volume. */
  update(record: VolumeRecord): Promise<void> {
    return writeRecord(this.of(record.name), record);
  }

  /** Whether a copy into it is to be finished, or could be made: it is empty. Spares most containers a process. */
  async needsFill(name: string, copies: boolean): Promise<boolean> {
    if ((await readdir(this.of(name))).some((entry) => entry.startsWith('.fill'))) return true;
    if (!copies) return false;
    const data = await opendir(this.dataOf(name));
    try {
      return (await data.read()) === null;
    } finally {
      await data.close();
    }
  }

  /** It is gone when this resolves; its files are deleted behind the scenes. */
  async discard(name: string): Promise<void> {
    const discarded = join(this.path, '.trash', `${name}.${newHexId(this.random).slice(0, 16)}`);
    await rename(this.of(name), discarded);
    await syncDirectory(this.path);
    void this.#delete([discarded]);
  }

  /** Out of the way, with everything in it. */
  async putAside({ name, volumeId }: VolumeRecord): Promise<void> {
    await rename(this.of(name), join(this.path, '.left', `${name}.${volumeId}`));
  }

  async #delete(paths: readonly string[]): Promise<void> {
    await clear([], paths).catch((error: unknown) => {
      // Tried again at the next start.
      this.logger.warn({ error, paths }, 'what was discarded of a volume cannot be deleted');
    });
  }
}

async function writeRecord(directory: string, record: VolumeRecord): Promise<void> {
  const file = await open(join(directory, `${RECORD}.new`), 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify({ version: 1, ...record }));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(join(directory, `${RECORD}.new`), join(directory, RECORD));
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
