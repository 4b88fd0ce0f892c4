import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A link between a client and a server on a unix socket that can be cut and stalled, as a network can. */
export class TestLink {
  readonly #sockets = new Set<Socket>();
  readonly #directory = mkdtempSync(join(tmpdir(), 'tessera-link-'));
  readonly #path = join(this.#directory, 'link');
  readonly #server: Server;
  #cut = false;
  #stalled = false;

  private constructor(private readonly target: string) {
    this.#server = createServer((client) => this.#join(client));
  }

  /** @param endpoint `unix:/path` of the server */
  static async to(endpoint: string): Promise<TestLink> {
    const link = new TestLink(endpoint.slice('unix:'.length));
    await new Promise<void>((resolve) => link.#server.listen(link.#path, resolve));
    return link;
  }

  get endpoint(): string {
    return `unix:${this.#path}`;
  }

  /** Breaks every connection and takes no new one. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing more gets through, and nobody is told. */
  stall(): void {
    this.#stalled = true;
    for (const socket of this.#sockets) socket.pause();
  }

  heal(): void {
    this.#cut = false;
    this.#stalled = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.cut();
    this.#server.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #join(client: Socket): void {
    if (this.#cut) {
      client.destroy();
      return;
    }
    const server = connect(this.target);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      if (this.#stalled) from.pause();
    }
  }
}
