import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, run } from './command.js';
import { waitFor } from './wait.js';

/** The shell's, so that it is seen when it is back at it. */
const PROMPT = 'prompt>';

/** A shell in a real terminal: keys go in, and what a person would see can be looked at. */
export class Terminal {
  private constructor(
    private readonly directory: string,
    private readonly tmux: readonly string[],
  ) {}

  /** @param env what the shell has in its environment besides its path */
  static async open(env: Readonly<Record<string, string>>, columns = 80, rows = 24): Promise<Terminal> {
    const directory = mkdtempSync(join(tmpdir(), 'tessera-terminal-'));
    // A server of its own, which nobody's settings reach.
    const tmux = ['tmux', '-S', `${directory}/socket`, '-f', '/dev/null'];
    const variables = {
      PATH: process.env.PATH ?? '',
      HOME: directory,
      PS1: `${PROMPT} `,
      TERM: 'screen',
      ...env,
    };
    const shell = ['env', '-i', ...Object.entries(variables).map((pair) => pair.join('=')), 'sh'];
    const size = ['-x', String(columns), '-y', String(rows)];
    await must([...tmux, 'new-session', '-d', ...size, ...shell]);
    const terminal = new Terminal(directory, tmux);
    await terminal.ready();
    return terminal;
  }

  /** Types text, as it is. */
  async type(text: string): Promise<void> {
    await must([...this.tmux, 'send-keys', '-l', '--', text]);
  }

  /** Presses keys by tmux's names of them: `Enter`, `C-c`, `Escape`. */
  async press(...keys: string[]): Promise<void> {
    await must([...this.tmux, 'send-keys', ...keys]);
  }

  async enter(line: string): Promise<void> {
    await this.type(line);
    await this.press('Enter');
  }

  async resize(columns: number, rows: number): Promise<void> {
    await must([...this.tmux, 'resize-window', '-x', String(columns), '-y', String(rows)]);
  }

  /** Empties the screen and what has scrolled off it, with the shell at its prompt. */
  async clear(): Promise<void> {
    await this.enter('clear');
    await waitFor('an empty screen', async () => (await this.screen()).trim() === PROMPT);
    await must([...this.tmux, 'clear-history']);
  }

  /** What is on the screen, without the blanks behind lines. */
  screen(): Promise<string> {
    return must([...this.tmux, 'capture-pane', '-p']);
  }

  /** Waits until the screen shows this, and gives it. */
  async sees(what: string | RegExp): Promise<string> {
    let last = '';
    try {
      return await waitFor(String(what), async () => {
        last = await this.screen();
        return (typeof what === 'string' ? last.includes(what) : what.test(last)) && last;
      });
    } catch (error) {
      throw new Error(`the terminal never showed ${what}, but\n${last.trimEnd()}`, { cause: error });
    }
  }

  /** Waits until the shell is at its prompt. */
  async ready(): Promise<void> {
    await this.sees(new RegExp(`${PROMPT}\\s*$`));
  }

  async close(): Promise<void> {
    await run([...this.tmux, 'kill-server']);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
