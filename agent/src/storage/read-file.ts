import { readFileSync } from 'node:fs';

/** Undefined when there is no such file. */
export function readBytesIfAny(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
