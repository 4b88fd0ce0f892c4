import type { Readable } from 'node:stream';

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** What a command reads, and the terminal it is read from. */
export interface Input {
  readonly isTty: boolean;
  readonly stream: Readable;
  /** Undefined where there is no terminal. */
  size(): TerminalSize | undefined;
  /** Calls `changed` whenever the terminal gets another size; the returned function ends it. */
  onResize(changed: () => void): () => void;
  /** Keys as they are typed, Ctrl-C included, or lines. */
  setRaw(raw: boolean): void;
}

export function createInput(stdin: NodeJS.ReadStream, stdout: NodeJS.WriteStream): Input {
  return {
    isTty: stdin.isTTY === true,
    stream: stdin,
    size: () => (stdout.isTTY ? { rows: stdout.rows, columns: stdout.columns } : undefined),
    onResize: (changed) => {
      stdout.on('resize', changed);
      return () => stdout.off('resize', changed);
    },
    setRaw: (raw) => {
      if (stdin.isTTY) stdin.setRawMode(raw);
    },
  };
}
