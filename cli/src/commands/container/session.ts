import type { Duplex } from 'node:stream';
import type { Cli } from '../../cli.js';
import { logFrames } from '../../client/log-frames.js';

export interface SessionOptions {
  readonly tty: boolean;
  /** Whether what is typed is sent. */
  readonly stdin: boolean;
  /** Where the terminal's size goes: `/containers/ID/resize`. */
  readonly resizePath: string;
}

/** Joins this terminal with a taken-over connection, until the other end closes it. */
export async function converse(cli: Cli, socket: Duplex, options: SessionOptions): Promise<void> {
  const { input, out } = cli;
  const { tty, stdin } = options;
  const stopResizing = tty ? followSize(cli, options.resizePath) : () => {};
  if (tty && stdin) input.setRaw(true);
  if (stdin) input.stream.pipe(socket);
  else socket.end();
  socket.on('error', () => {});
  try {
    const source = socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    if (tty) for await (const chunk of source) await out.bytes(chunk, 'stdout');
    else for await (const { stream, content } of logFrames(source)) await out.bytes(content, stream);
  } finally {
    stopResizing();
    if (tty && stdin) input.setRaw(false);
    input.stream.unpipe(socket);
    // Whoever still waits for a key keeps the process alive.
    input.stream.pause();
    input.stream.destroy();
    socket.destroy();
  }
}

function followSize({ api, input }: Cli, path: string): () => void {
  const tell = () => {
    const size = input.size();
    // One that has not begun yet, or has just ended, has no size to be set; the next change is told again.
    if (size) api.post(path, undefined, { h: size.rows, w: size.columns }).catch(() => {});
  };
  tell();
  return input.onResize(tell);
}
