import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A way to a registry on which connections break when so many bytes have passed one way. */
export class CuttingProxy {
  readonly #sockets = new Set<Socket>();
  /** How many connections have been cut. */
  cutCount = 0;
  #cuts: { readonly way: 'down' | 'up'; readonly bytes: number }[] = [];

  private constructor(
    private readonly server: Server,
    target: number,
  ) {
    server.on('connection', (client) => this.#serve(client, target));
  }

  static async start(target: number): Promise<CuttingProxy> {
    const server = createServer({ allowHalfOpen: false });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new CuttingProxy(server, target);
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The next connections that carry so much are cut: one for each. */
  cut(way: 'down' | 'up', ...bytes: number[]): void {
    this.#cuts.push(...bytes.map((each) => ({ way, bytes: each })));
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
  }

  #serve(client: Socket, target: number): void {
    const registry = connect(target, '127.0.0.1');
    const both = [client, registry];
    const end = () => {
      for (const socket of both) socket.destroy();
    };
    for (const socket of both) {
      this.#sockets.add(socket);
      socket.on('error', end).on('close', () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    this.#pipe(registry, client, 'down', end);
    this.#pipe(client, registry, 'up', end);
  }

  #pipe(from: Socket, to: Socket, way: 'down' | 'up', end: () => void): void {
    let passed = 0;
    from.on('data', (piece) => {
      const cut = this.#cuts.find((each) => each.way === way);
      if (cut && passed + piece.length > cut.bytes) {
        this.#cuts = this.#cuts.filter((each) => each !== cut);
        this.cutCount++;
        to.write(piece.subarray(0, Math.max(0, cut.bytes - passed)), () => end());
        from.pause();
        return;
      }
      passed += piece.length;
      if (!to.write(piece)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.on('end', () => to.end());
  }
}
