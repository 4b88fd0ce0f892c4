import { readFileSync } from 'node:fs';
import { badFlag } from '../../cli-error.js';

/**
 * What `--env` flags in the place of a file would be: NAME=VALUE, or NAME for a variable from here.
 *
 * @throws CliError that names the file and the line
 * Source: docker/cli pkg/kvfile, so that the same files are read alike: no quotes, no escapes, no trailing comments
 */
export function readEnvFile(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw badFlag('--env-file', path, (error as Error).message);
  }
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .flatMap((line, index) => {
      const entry = line.trimStart();
      if (entry === '' || entry.startsWith('#')) return [];
      const name = entry.split('=', 1)[0]!;
      if (name === '') throw badFlag('--env-file', path, `line ${index + 1} has no variable name`);
      if (/\s/.test(name)) {
        throw badFlag('--env-file', path, `line ${index + 1}: variable '${name}' contains whitespaces`);
      }
      return [entry];
    });
}
