import { chmodSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import type { Logger } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { FrameSocket, onFirstFrame } from '@tessera/shared/frames';
import type { StreamBroker } from '../streams/index.js';

/**
 * Side streams of the agent next door, by a unix socket. Whoever can open it is root on this host, and so is this node:
 * the stream's id is still asked for.
 */
export class LocalStreamServer {
  readonly #server: Server;
  readonly #streams = new Set<FrameSocket>();

  constructor(
    private readonly options: {
      readonly path: string;
      readonly broker: Pick<StreamBroker, 'accept' | 'offer'>;
      /** This host's. */
      readonly nodeId: string;
      readonly logger: Logger;
    },
  ) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Takes the socket's name from a manager before this one. */
  async listen(): Promise<void> {
    const { path } = this.options;
    // Bound under another name and renamed: libuv unlinks the name it bound when a server closes.
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
    rmSync(temporary, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(temporary, resolve);
    });
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  }

  /** Takes no more, and ends those under way. */
  close(): void {
    this.#server.close();
    for (const stream of this.#streams) stream.destroy();
  }

  #serve(socket: Socket): void {
    const stream = new FrameSocket(socket);
    this.#streams.add(stream);
    stream.on('close', () => this.#streams.delete(stream));
    stream.on('error', (error) =>
      this.options.logger.debug({ reason: errorText(error) }, 'a local stream broke'),
    );
    onFirstFrame(stream, ({ body }) => {
      const { broker, nodeId } = this.options;
      try {
        if (body?.$case !== 'open') throw new Error('a side stream begins with its id');
        if (body.value === '') broker.offer(nodeId, stream);
        else broker.accept(nodeId, body.value, stream);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
  }
}
