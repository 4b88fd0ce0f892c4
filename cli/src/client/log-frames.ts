import { CliError } from '../cli-error.js';

export interface LogFrame {
  readonly stream: 'stdout' | 'stderr';
  readonly content: Buffer;
}

const HEADER_BYTES = 8;
const SYSTEM_ERROR = 3;

/**
 * Takes Docker's multiplexed stream apart. Source: moby pkg/stdcopy.
 * @throws CliError what the server reports within the stream
 */
export async function* logFrames(source: AsyncIterable<Buffer>): AsyncGenerator<LogFrame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUInt32BE(4);
      if (rest.length < end) break;
      const content = rest.subarray(HEADER_BYTES, end);
      const stream = rest[0];
      rest = rest.subarray(end);
      if (stream === SYSTEM_ERROR)
        throw new CliError(`error from daemon in stream: ${content.toString('utf8')}`);
      yield { stream: stream === 2 ? 'stderr' : 'stdout', content };
    }
  }
}

/** Lines of JSON, one object each. */
export async function* jsonLines<T>(source: AsyncIterable<Buffer>): AsyncGenerator<T> {
  let rest = '';
  for await (const chunk of source) {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as T;
}
