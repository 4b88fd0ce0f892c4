import { connect, type Socket } from 'node:net';

/** A client that takes its connection over, byte by byte as the docker CLI does. */
export class RawClient {
  #received = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
  }

  static async open(socketPath: string): Promise<RawClient> {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    return new RawClient(socket);
  }

  /** @param body its bytes follow the head at once, and what is written next follows them */
  ask(
    method: string,
    path: string,
    options: { readonly upgrade?: boolean; readonly body?: string } = {},
  ): void {
    const { upgrade = true, body } = options;
    const head = [
      `${method} ${path} HTTP/1.1`,
      'Host: docker',
      ...(upgrade ? ['Connection: Upgrade', 'Upgrade: tcp'] : []),
      ...(body === undefined
        ? []
        : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]),
    ];
    this.write(`${head.join('\r\n')}\r\n\r\n${body ?? ''}`);
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Says that nothing more will be written. */
  halfClose(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The head of the answer, without what is behind it. */
  async head(): Promise<string> {
    return (await this.#until(() => this.#take('\r\n\r\n'))) ?? '';
  }

  /** What has come behind the head, once it holds `length` bytes. */
  async bytes(length: number): Promise<Buffer> {
    await this.#until(() => (this.#received.length >= length ? true : undefined));
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return bytes;
  }

  /** Waits until this has come. */
  async saw(text: string): Promise<void> {
    await this.#until(() => (this.#received.includes(text) ? true : undefined));
  }

  /** Everything until the server's end. */
  async rest(): Promise<Buffer> {
    await this.#until(() => (this.#ended ? true : undefined));
    return this.#received;
  }

  #take(mark: string): string | undefined {
    const at = this.#received.indexOf(mark);
    if (at < 0) return undefined;
    const text = this.#received.subarray(0, at).toString();
    this.#received = this.#received.subarray(at + mark.length);
    return text;
  }

  async #until<T>(look: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const seen = look();
      if (seen !== undefined || this.#ended) return seen;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
