import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, type Logger, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { type Cluster, Cluster as ClusterMessage, Image, type Service, Task } from '@tessera/shared/model';
import { aNode, aNodeStatus, SeededRandom } from '@tessera/shared/testing';
import type { Frame } from '@tessera/shared/wire';
import { type AuthorityKeys, createAuthority } from '../../ca/index.js';
import type { LogBroker, LogEntry } from '../../logbroker/index.js';
import { type MemoryStore, openMemoryStore } from '../../store/testing/index.js';
import type { SideStream, SideStreams, StreamKind } from '../../streams/index.js';
import { type ApiServerDeps, createApiServer } from '../index.js';

// biome-ignore lint/suspicious/noExplicitAny: it is whatever the test then looks at.
export type Json = any;

/** An answer of the API, parsed if it is JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  readonly body: Json;
}

/** The real API over a memory store on a unix socket; agents are played by `onStream` and `logEntries`. */
export class ApiFixture {
  /** Answers a side stream: what the agent of `nodeId` would send. */
  onStream: (nodeId: string, kind: StreamKind, received: AsyncIterable<Frame>) => AsyncIterable<Frame> =
    () => {
      throw new ClusterError('unavailable', 'the node has no session');
    };
  logEntries: (...args: Parameters<LogBroker['logs']>) => AsyncIterable<LogEntry> = async function* () {};
  readonly left: boolean[] = [];

  private constructor(
    readonly store: MemoryStore,
    readonly socketPath: string,
    private readonly directory: string,
    private readonly server: Server,
    readonly deps: ApiServerDeps,
  ) {}

  static async start(
    options: { readonly clock?: Clock; readonly nodes?: number; readonly logger?: Logger } = {},
  ): Promise<ApiFixture> {
    const clock = options.clock ?? systemClock;
    const store = await openMemoryStore(clock);
    await seed(store, options.nodes ?? 3, await createAuthority('cluster-1', systemClock, systemRandom));
    const directory = await mkdtemp(join(tmpdir(), 'tessera-api-'));
    const socketPath = join(directory, 'tessera.sock');
    let fixture: ApiFixture | undefined;
    const deps: ApiServerDeps = {
      store,
      clock,
      random: new SeededRandom(7),
      logger: options.logger ?? silentLogger,
      nodeId: 'node-1',
      managerAddr: '10.0.0.1:2377',
      leaderId: () => 'node-1',
      dataDir: '/var/lib/tessera',
      streams: { requestStream: (...args) => openStream(fixture!, ...args) },
      logBroker: { logs: (...args) => fixture!.logEntries(...args) },
      authority: {
        issueClientCertificate: async ({ name }) => ({ keyPem: 'key', certPem: name, caCertPem: 'ca' }),
      },
      localNode: {
        leave: async (force) => {
          fixture!.left.push(force);
        },
      },
    };
    const api = createApiServer(deps);
    const server = createServer(api);
    api.prepare(server);
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    fixture = new ApiFixture(store, socketPath, directory, server, deps);
    return fixture;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    this.store.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** @param body an object goes as JSON, bytes as they are */
  async call(method: string, path: string, body?: object | Uint8Array): Promise<Answer> {
    return (await this.begin(method, path, body)).answer;
  }

  /** Resolves when the head of the answer has come. */
  begin(
    method: string,
    path: string,
    body?: object | Uint8Array,
  ): Promise<{ readonly answer: Promise<Answer> }> {
    const isBytes = body instanceof Uint8Array;
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          socketPath: this.socketPath,
          method,
          path,
          headers: body === undefined || isBytes ? {} : { 'Content-Type': 'application/json' },
        },
        (response) => resolve({ answer: answerOf(response, () => isBytes && sent.destroy()) }),
      );
      sent.on('error', reject);
      sent.end(isBytes ? body : body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Puts an image under a name, held by every node. */
  async addImage(name = 'docker.io/library/busybox:latest', id = `sha256:${'a'.repeat(64)}`): Promise<Image> {
    const image = anImage(id, [name]);
    await this.store.update((tx) => {
      tx.takeClaim(`name/image/${name}`, `image/${id}`);
      tx.put('images', image);
    });
    return image;
  }

  /** Plays loops and agents for services: every slot gets a task that runs at once; what is too much goes. */
  runTasks(): () => void {
    return this.store.subscribe((changes) => {
      const services = changes.filter(({ kind }) => kind === 'services');
      for (const { after } of services) if (after) void this.#settle(after as Service);
    });
  }

  async #settle(service: Service): Promise<void> {
    const replicas = service.removing ? 0 : (service.spec?.replicas ?? 0);
    await this.store.update((tx) => {
      for (const task of tx.tasks.byService(service.id)) {
        if (task.slot <= replicas && task.specVersion === service.specVersion) continue;
        tx.delete('tasks', task.id);
        tx.delete('taskStatuses', task.id);
      }
      for (let slot = 1; slot <= replicas; slot++) {
        const id = `${service.id.slice(0, 12)}${service.specVersion}task${slot}`;
        if (tx.tasks.get(id)) continue;
        const nodeId = `node-${((slot - 1) % 3) + 1}`;
        tx.put(
          'tasks',
          Task.fromPartial({
            id,
            serviceId: service.id,
            serviceName: service.spec?.name ?? '',
            slot,
            nodeId,
            specVersion: service.specVersion,
            state: 'assigned',
            desiredState: 'running',
          }),
        );
        tx.put('taskStatuses', {
          taskId: id,
          nodeId,
          state: 'running',
          message: 'started',
          error: '',
          atMs: this.deps.clock.now(),
          container: undefined,
        });
      }
    });
  }
}

function answerOf(response: IncomingMessage, onEnd: () => void): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('error', reject);
    response.on('end', () => {
      // An upload that was refused is still being sent.
      onEnd();
      const text = Buffer.concat(chunks).toString('latin1');
      const isJson = response.headers['content-type']?.startsWith('application/json') ?? false;
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        text,
        body: isJson ? parseLoosely(text) : undefined,
      });
    });
  });
}

export const anImage = (id: string, names: readonly string[]): Image =>
  Image.fromPartial({
    id,
    configDigest: `sha256:${'c'.repeat(60)}${id.slice(-4)}`,
    names: [...names],
    manifest: Buffer.from('{"mediaType":"application/vnd.oci.image.manifest.v1+json"}'),
    config: Buffer.from('{"created":"2026-01-02T03:04:05Z","architecture":"amd64","os":"linux","config":{}}'),
    sizeBytes: 4_261_550,
    blobBytes: 2_000_000,
  });

async function seed(store: MemoryStore, nodes: number, authority: AuthorityKeys): Promise<void> {
  await store.update((tx) => {
    tx.put(
      'cluster',
      ClusterMessage.fromPartial({
        id: 'cluster-1',
        incarnation: 1,
        ...authority,
        joinTokens: { worker: 'TSWT-1-worker', manager: 'TSWT-1-manager' },
        spec: {
          defaultAddrPools: ['10.0.0.0/8'],
          subnetSize: 24,
          dataPathPort: 4789,
          taskHistoryLimit: 5,
          heartbeatPeriodMs: 1000,
          heartbeatGracePeriods: 3,
        },
      }) satisfies Cluster,
    );
    for (let number = 1; number <= nodes; number++) {
      const id = `node-${number}`;
      tx.put('nodes', aNode({ id, name: `host${number}`, role: number === 1 ? 'manager' : 'worker' }));
      tx.put(
        'nodeStatuses',
        aNodeStatus({
          nodeId: id,
          description: { ...aNodeStatus().description!, hostname: `host${number}` },
          addr: `10.0.0.${number}`,
          ...(number === 1 ? { managerAddr: '10.0.0.1:2377' } : {}),
        }),
      );
    }
  });
}

/** A side stream whose other end is played by `fixture.onStream`. */
async function openStream(
  fixture: ApiFixture,
  ...[nodeId, kind, signal]: Parameters<SideStreams['requestStream']>
): Promise<SideStream> {
  signal.throwIfAborted();
  const sent: Frame[] = [];
  let wake: () => void = () => {};
  let ended = false;
  const received = async function* (): AsyncGenerator<Frame> {
    for (;;) {
      const frame = sent.shift();
      if (frame) yield frame;
      else if (ended) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  };
  const stop = () => {
    ended = true;
    wake();
  };
  return {
    isLocal: false,
    frames: fixture.onStream(nodeId, kind, received()),
    write: async (frame) => {
      if (ended) throw new ClusterError('unavailable', 'the stream has ended');
      sent.push(frame);
      wake();
    },
    end: async () => stop(),
    close: stop,
  };
}

/** One JSON value, or the list of them when there is one on each line. */
function parseLoosely(text: string): unknown {
  const lines = text.trim().split(/\r?\n/).filter(Boolean);
  return lines.length > 1 ? lines.map((line) => JSON.parse(line) as unknown) : JSON.parse(text || 'null');
}
