import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';

/** An answer as it came. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** It did not end within its time. */
  readonly isCut?: boolean;
}

export interface Exchange {
  readonly socketPath: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Buffer | undefined;
  /** Written to a connection that was taken over, which is then half-closed. */
  readonly input: string;
  /** Done once the head of the answer is there; the exchange is over when this is, too. */
  readonly during: () => Promise<void>;
  /** The body ends after so many lines. */
  readonly lines: number | undefined;
  readonly timeoutMs: number;
}

/** One request on a unix socket, and all of its answer: HTTP, or raw where the connection is taken over. */
export function exchange(options: Exchange): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { socketPath, method, path, payload } = options;
    const headers = { ...options.headers, ...(payload ? { 'content-length': payload.length } : {}) };
    const call = request({ socketPath, method, path, headers, agent: false });
    let answer: Answer | undefined;
    let meanwhile: Promise<void> | undefined;
    const chunks: Buffer[] = [];
    const done = (isCut = false) => {
      timer.abort();
      call.destroy();
      const whole: Answer = answer
        ? { ...answer, body: Buffer.concat(chunks), ...(isCut ? { isCut } : {}) }
        : { status: 0, headers: {}, body: Buffer.alloc(0), isCut: true };
      // The last line may come before the answer to what had caused it.
      Promise.resolve(meanwhile).then(() => resolve(whole), reject);
    };
    const timer = new AbortController();
    const timeout = AbortSignal.timeout(options.timeoutMs);
    timeout.addEventListener('abort', () => done(true), { once: true, signal: timer.signal });

    const collect = (stream: IncomingMessage | Socket) => {
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        if (options.lines !== undefined && newlines(chunks) >= options.lines) done();
      });
      stream.once('end', () => done());
      stream.once('error', () => done());
    };
    call.once('response', (response) => {
      answer = { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.alloc(0) };
      collect(response);
      meanwhile = options.during();
      meanwhile.catch(reject);
    });
    call.once('upgrade', (response, socket, head) => {
      answer = { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.alloc(0) };
      if (head.length > 0) socket.unshift(head);
      collect(socket as Socket);
      meanwhile = options.during().then(() => {
        socket.end(options.input);
      });
      meanwhile.catch(reject);
    });
    call.once('error', (error) => {
      if (!answer) reject(error);
    });
    call.end(payload);
  });
}

const newlines = (chunks: readonly Buffer[]): number =>
  chunks.reduce((sum, chunk) => sum + chunk.filter((byte) => byte === 0x0a).length, 0);

/** What comes over a WebSocket until the other side closes it. */
export function messages(
  options: Pick<Exchange, 'socketPath' | 'path' | 'input' | 'during' | 'timeoutMs'>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const client = new WebSocket(`ws+unix:${options.socketPath}:${options.path}`);
    let meanwhile: Promise<void> | undefined;
    const chunks: Buffer[] = [];
    const done = (status: number, headers: IncomingHttpHeaders = {}, isCut = false) => {
      stop.abort();
      const whole: Answer = { status, headers, body: Buffer.concat(chunks), ...(isCut ? { isCut } : {}) };
      Promise.resolve(meanwhile).then(() => resolve(whole), reject);
    };
    const stop = new AbortController();
    const timeout = AbortSignal.timeout(options.timeoutMs);
    timeout.addEventListener('abort', () => done(0, {}, true), { once: true, signal: stop.signal });

    client.on('message', (data: Buffer) => chunks.push(data));
    client.once('open', () => {
      meanwhile = options.during().then(() => {
        if (options.input !== '') client.send(options.input);
      });
      meanwhile.catch(reject);
    });
    client.once('unexpected-response', (_, response) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => done(response.statusCode ?? 0, response.headers));
    });
    client.once('close', () => done(101));
    client.once('error', () => done(0));
  });
}
