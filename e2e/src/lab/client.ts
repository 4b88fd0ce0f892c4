import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { waitFor } from './wait.js';

/** A command that goes on until its stream ends, with its input still open. */
export interface Client {
  /** Its exit code, once it has ended and printed everything; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  /** What it has printed so far, errors included. */
  output(): string;
  /** Waits until it has printed this. */
  saw(text: string): Promise<void>;
  /** More of its input. */
  write(bytes: Uint8Array): void;
  kill(): void;
}

export function startClient(argv: readonly string[]): Client {
  const child = start(argv);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  return {
    ended: new Promise((resolve) => child.once('close', resolve)),
    output: () => output,
    saw: async (text) => {
      await waitFor(`'${text}' of ${argv.join(' ')}`, () => output.includes(text));
    },
    write: (bytes) => void child.stdin.write(bytes),
    kill: () => void child.kill(),
  };
}

/** A command that nobody reads from: it stands still as soon as its pipe is full. */
export interface StalledClient {
  /** Resolves when it has begun to print. */
  readonly begun: Promise<unknown>;
  /** Reads on, to its end, and keeps the errors. */
  end(): Promise<{ readonly code: number | null; readonly stderr: string }>;
}

export function startStalledClient(argv: readonly string[]): StalledClient {
  const child = start(argv);
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  return {
    begun: once(child.stdout, 'readable'),
    end: async () => {
      child.stdout.resume();
      const [code] = await closed;
      return { code, stderr };
    },
  };
}

function start(argv: readonly string[]) {
  const [file, ...args] = argv as [string, ...string[]];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  // One that ends before it has read its input is no failure of ours.
  child.stdin.on('error', () => {});
  return child;
}
