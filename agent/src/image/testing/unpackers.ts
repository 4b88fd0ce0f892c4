import { readdirSync, readFileSync } from 'node:fs';

export interface Unpacker {
  readonly pid: number;
  readonly parent: number;
}

/** The live unpackers that work below `directory`: the monitors, and the confined ones below them. */
export function unpackers(directory: string): Unpacker[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (!command.startsWith('ts-unpack\0') || !command.includes(directory)) return [];
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return state === 'Z' ? [] : [{ pid, parent: Number(parent) }];
    } catch {
      // It has ended between two of these reads.
      return [];
    }
  });
}

/** The one of them that reads foreign bytes. */
export function confinedUnpacker(directory: string): Unpacker | undefined {
  const all = unpackers(directory);
  return all.find(({ parent }) => all.some(({ pid }) => pid === parent));
}
