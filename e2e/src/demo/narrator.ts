import { systemClock } from '@tessera/shared/env';
import type { LabHost } from '../lab/host.js';

const color = (code: number) => (text: string) =>
  process.stdout.isTTY ? `\x1b[${code}m${text}\x1b[0m` : text;
const bold = color(1);
const dim = color(2);
const green = color(32);

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;

/** Prints a demonstration: what is done, the command a user would type, its real output, and how long it took. */
export class Narrator {
  #step = 0;
  readonly #startMs = systemClock.monotonic();
  readonly #timings: { readonly title: string; readonly ms: number }[] = [];

  say(text: string): void {
    console.log(dim(`   ${text}`));
  }

  /** One numbered step. What `work` throws ends the demonstration. */
  async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    this.#step++;
    console.log(`\n${bold(`${this.#step}. ${title}`)}`);
    const beganMs = systemClock.monotonic();
    const result = await work();
    const ms = systemClock.monotonic() - beganMs;
    this.#timings.push({ title, ms });
    console.log(`   ${green('done')} ${dim(`in ${seconds(ms)}`)}`);
    return result;
  }

  /** A command typed on a host, and what it printed. @throws Error when it fails */
  async type(host: LabHost, ...argv: string[]): Promise<string> {
    console.log(`${host.name}$ ${argv.map(quoted).join(' ')}`);
    const { code, stdout, stderr } = await host.exec(argv);
    const output = `${stdout}${stderr}`.trimEnd();
    if (output) console.log(output.replace(/^/gm, '   '));
    if (code !== 0)
      throw new Error(`'${argv.slice(0, 3).join(' ')}' on ${host.name} ended with code ${code}`);
    return stdout;
  }

  summary(): void {
    console.log(`\n${bold('How long each step took')}`);
    for (const { title, ms } of this.#timings) console.log(`   ${seconds(ms).padStart(8)}  ${title}`);
    console.log(`   ${seconds(systemClock.monotonic() - this.#startMs).padStart(8)}  in all`);
  }
}

const quoted = (word: string): string =>
  /^[\w@%+=:,./<>{}-]+$/.test(word) && !/[<>{}]/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
