import { readFileSync } from 'node:fs';

/** A file of the kernel's or of the host's configuration; what is not there, or not ours to read, is empty. */
export function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
