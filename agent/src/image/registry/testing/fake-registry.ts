import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf } from '@tessera/shared/digest';
import { MEDIA_TYPES } from '../../image-manifest.js';
import { makeLayer } from '../../testing/make-layer.js';

export type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

/**
 * A registry that does as told: good answers for one image, `app:1`, and any other where `answers` has one for the
 * path. It takes uploads as the distribution specification has them, and keeps what a broken request has brought.
 */
export class FakeRegistry {
  /** By method and path: `GET /v2/app/manifests/1`. */
  readonly answers = new Map<string, Answer>();
  readonly asked: { readonly line: string; readonly headers: IncomingMessage['headers'] }[] = [];
  readonly uploaded = new Map<string, Buffer>();
  #uploads = new Map<string, Buffer>();

  private constructor(
    private readonly server: Server,
    readonly image: FakeImage,
  ) {
    server.on('request', (request, response) => this.#serve(request, response));
  }

  static async start(): Promise<FakeRegistry> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeRegistry(server, await fakeImage());
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get name(): string {
    return `${this.host}/app:1`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Answers a path with this status, these headers and this body. */
  answer(
    line: string,
    status: number,
    body: string | Buffer = '',
    headers: Record<string, string> = {},
  ): void {
    this.answers.set(line, (_, response) => response.writeHead(status, headers).end(body));
  }

  /** The good answer, for tests that spoil it on occasion. */
  readonly good: Answer = (request, response) => {
    const { image } = this;
    const path = request.url!.replace(/\?.*/, '');
    if (path === '/v2/') return response.writeHead(200).end('{}');
    if (path === '/v2/app/manifests/1')
      return response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(image.manifest);
    const blob = [image.config, image.layer].find((bytes) => path === `/v2/app/blobs/${digestOf(bytes)}`);
    if (blob) return sendRange(request, response, blob);
    return response.writeHead(404).end();
  };

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const line = `${request.method} ${request.url!.replace(/\?.*/, '')}`;
    this.asked.push({ line, headers: request.headers });
    request.on('error', () => undefined);
    const special = this.answers.get(line);
    if (special) return void special(request, response);
    if (request.url!.startsWith('/v2/app/blobs/uploads/')) return void this.#upload(request, response);
    if (request.method === 'PUT') return void response.writeHead(201).end();
    this.good(request, response);
  }

  async #upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, `http://${this.host}`);
    const id = url.pathname.split('/').at(-1)!;
    const location = `/v2/app/blobs/uploads/${id || this.#uploads.size + 1}`;
    const key = id || String(this.#uploads.size + 1);
    const standing = () => {
      const { length } = this.#uploads.get(key)!;
      return { location, range: `0-${Math.max(0, length - 1)}` };
    };
    if (request.method === 'POST') this.#uploads.set(key, Buffer.alloc(0));
    if (request.method === 'GET') return void response.writeHead(204, standing()).end();
    const begins = Number(/^(\d+)-/.exec(String(request.headers['content-range']))?.[1] ?? 0);
    if (request.method === 'PATCH' && begins !== this.#uploads.get(key)!.length)
      return void response.writeHead(416, standing()).end();
    try {
      for await (const piece of request)
        this.#uploads.set(key, Buffer.concat([this.#uploads.get(key)!, piece as Buffer]));
    } catch {
      return;
    }
    if (request.method !== 'PUT') return void response.writeHead(202, standing()).end();
    const content = this.#uploads.get(key)!;
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    if (digest === url.searchParams.get('digest')) this.uploaded.set(digest, content);
    response.writeHead(digest === url.searchParams.get('digest') ? 201 : 400).end();
  }
}

export interface FakeImage {
  readonly layer: Buffer;
  readonly config: Buffer;
  readonly manifest: Buffer;
}

async function fakeImage(): Promise<FakeImage> {
  const layer = await makeLayer([{ name: 'file', content: 'content'.repeat(20_000) }]);
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = Buffer.from(
    JSON.stringify({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } }),
  );
  return { layer, config, manifest: manifestOf(config, layer) };
}

/** @param changes over the manifest's fields */
export function manifestOf(config: Buffer, layer: Buffer, changes: object = {}): Buffer {
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: describe(MEDIA_TYPES.ociConfig, config),
      layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
      ...changes,
    }),
  );
}

function sendRange(request: IncomingMessage, response: ServerResponse, blob: Buffer): void {
  const from = Number(/^bytes=(\d+)-/.exec(String(request.headers.range))?.[1] ?? 0);
  if (from === 0) return void response.writeHead(200, { 'content-length': blob.length }).end(blob);
  response
    .writeHead(206, { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` })
    .end(blob.subarray(from));
}
