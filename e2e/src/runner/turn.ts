import { createServer, type Server } from 'node:net';
import { delay, systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll } from 'vitest';

// Before each file of scenarios: one of them at a time on this machine, whatever runs beside. The turn is a name that
// the kernel gives to one process alone and takes back when that ends (unix(7), abstract sockets).

const NAME = '\0tessera-scenarios';
const PATIENCE_MS = 20 * 60_000;
let turn: Server | undefined;

beforeAll(async () => {
  while (!turn) {
    turn = await claim();
    if (!turn) await delay(systemClock, 100);
  }
}, PATIENCE_MS);

afterAll(() => new Promise<void>((resolve) => turn?.close(() => resolve())));

const claim = (): Promise<Server | undefined> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen(NAME, () => resolve(server));
  });
