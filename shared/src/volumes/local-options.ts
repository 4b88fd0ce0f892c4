import { invalid } from '../errors/index.js';

// The options of Docker's local driver. Source: moby, volume/local/local_unix.go; mount(8).

/** A volume that is a mount of its own; one without options is a plain directory. */
export interface LocalMount {
  readonly device: string;
  readonly type: string;
  /** MS_* of mount(2). */
  readonly flags: number;
  /** What is the file system's own, with commas between. */
  readonly data: string;
}

/** What an option needs beside itself. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  device: ['type'],
  type: ['device'],
  o: ['device', 'type'],
};

/** Name: the flag, and whether the word takes it away. Source: moby/sys/mount, flags_linux.go. */
const FLAGS: Readonly<Record<string, readonly [number, boolean]>> = {
  async: [0x10, true],
  atime: [0x400, true],
  bind: [0x1000, false],
  defaults: [0, false],
  dev: [0x4, true],
  diratime: [0x800, true],
  dirsync: [0x80, false],
  exec: [0x8, true],
  mand: [0x40, false],
  noatime: [0x400, false],
  nodev: [0x4, false],
  nodiratime: [0x800, false],
  noexec: [0x8, false],
  nomand: [0x40, true],
  norelatime: [0x200000, true],
  nostrictatime: [0x1000000, true],
  nosuid: [0x2, false],
  private: [0x40000, false],
  rbind: [0x5000, false],
  relatime: [0x200000, false],
  remount: [0x20, false],
  ro: [0x1, false],
  rprivate: [0x44000, false],
  rshared: [0x104000, false],
  rslave: [0x84000, false],
  runbindable: [0x24000, false],
  rw: [0x1, true],
  shared: [0x100000, false],
  slave: [0x80000, false],
  strictatime: [0x1000000, false],
  suid: [0x2, true],
  sync: [0x10, false],
  unbindable: [0x20000, false],
};

/**
 * What the options of a volume say; undefined for a plain directory.
 *
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export function localMount(options: Readonly<Record<string, string>>): LocalMount | undefined {
  for (const key of Object.keys(options)) {
    if (key === 'size') throw invalid('quota size requested but no quota support');
    if (!Object.hasOwn(NEEDS, key)) throw invalid(`invalid option: "${key}"`);
  }
  const { device = '', type = '', o = '' } = options;
  for (const [key, needs] of Object.entries(NEEDS)) {
    const missing = options[key] ? needs.find((needed) => !options[needed]) : undefined;
    if (missing) throw invalid(`missing required option: "${missing}"`);
  }
  if (device === '') return undefined;
  let flags = 0;
  const data: string[] = [];
  for (const word of o.split(',').filter(Boolean)) {
    const known = Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
    if (!known) data.push(word);
    else flags = known[1] ? flags & ~known[0] : flags | known[0];
  }
  return { device, type, flags, data: data.join(',') };
}
