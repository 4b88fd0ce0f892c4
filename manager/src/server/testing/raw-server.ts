import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { serveRoutes } from '../api-server.js';
import type { Route } from '../route.js';
import { RawClient } from './raw-client.js';

/** Routes on a socket without anything behind them, for clients that are byte by byte what a test wants. */
export class RawServer {
  private constructor(
    private readonly directory: string,
    private readonly server: Server,
  ) {}

  static async start(routes: readonly Route[]): Promise<RawServer> {
    const handler = serveRoutes(routes, systemClock, silentLogger);
    const server = createServer(handler);
    handler.prepare(server);
    const raw = new RawServer(await mkdtemp(join(tmpdir(), 'tessera-raw-')), server);
    await new Promise<void>((resolve) => server.listen(raw.#path, resolve));
    return raw;
  }

  get #path(): string {
    return join(this.directory, 'api.sock');
  }

  connect(): Promise<RawClient> {
    return RawClient.open(this.#path);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.directory, { recursive: true, force: true });
  }
}
