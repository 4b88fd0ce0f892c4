/** Where a command writes: results to `text` and `line`, what is only for people to `note`. */
export interface Output {
  readonly isTty: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
  text(text: string): void;
  line(line: string): void;
  bytes(content: Uint8Array, stream: 'stdout' | 'stderr'): Promise<void>;
  note(line: string): void;
}

/** A process's two output streams, or what a test puts in their place. */
export interface Sinks {
  readonly stdout: Sink;
  readonly stderr: Sink;
}
interface Sink {
  readonly isTTY?: boolean;
  readonly columns?: number;
  /** Gives false when it would rather be written to later. */
  write(content: string | Uint8Array): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

export function createOutput({ stdout, stderr }: Sinks): Output {
  return {
    isTty: stdout.isTTY === true,
    // A terminal that does not know its width says 0.
    columns: stdout.columns || 80,
    text: (text) => void stdout.write(text),
    line: (line) => void stdout.write(`${line}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    bytes: (content, stream) => {
      const sink = stream === 'stdout' ? stdout : stderr;
      // Reading logs no faster than they are written keeps a pipe to `less` small.
      if (sink.write(content)) return Promise.resolve();
      return new Promise((resolve) => sink.once('drain', resolve));
    },
  };
}
