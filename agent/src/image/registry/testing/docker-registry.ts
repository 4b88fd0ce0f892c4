import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { digestOf } from '@tessera/shared/digest';

/** Of `alice` with the password `pass:word`: bcrypt, which is all that the registry reads. */
const HTPASSWD = 'alice:$2b$04$UTmhDVV.VWiiiaUayeG84utunzVjI.PmXczhNCBFl5VsE6L34tPTG';
export const ALICE = { username: 'alice', password: 'pass:word', identityToken: '', registryToken: '' };

export interface DockerRegistryOptions {
  /** Basic authentication, ALICE and nobody else. */
  readonly isGuarded?: boolean;
  readonly token?: { readonly realm: string; readonly caCertPem: string };
  readonly tls?: { readonly certPem: string; readonly keyPem: string; readonly clientCaPem?: string };
}

/** Debian's docker-registry on a free port of loopback, with a directory of its own. */
export class DockerRegistry {
  private constructor(
    private readonly directory: string,
    private readonly process: ChildProcess,
    readonly port: number,
    private readonly options: DockerRegistryOptions,
  ) {}

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const directory = mkdtempSync(join(tmpdir(), 'tessera-registry-'));
    const file = (name: string, content: string) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    const { isGuarded, token, tls } = options;
    mkdirSync(join(directory, 'data'));
    const config = {
      version: '0.1',
      log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(directory, 'data') }, delete: { enabled: true } },
      http: {
        addr: '127.0.0.1:0',
        ...(tls
          ? {
              tls: {
                certificate: file('cert.pem', tls.certPem),
                key: file('key.pem', tls.keyPem),
                ...(tls.clientCaPem ? { clientcas: [file('clients.pem', tls.clientCaPem)] } : {}),
              },
            }
          : {}),
      },
      ...(isGuarded
        ? { auth: { htpasswd: { realm: 'test', path: file('htpasswd', `${HTPASSWD}\n`) } } }
        : {}),
      ...(token
        ? {
            auth: {
              token: {
                realm: token.realm,
                service: 'registry.test',
                issuer: 'issuer.test',
                rootcertbundle: file('issuer.pem', token.caCertPem),
              },
            },
          }
        : {}),
    };
    // JSON is YAML.
    const path = file('config.yml', JSON.stringify(config));
    const child = spawn('docker-registry', ['serve', path], { stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      return new DockerRegistry(directory, child, await portOf(child), options);
    } catch (error) {
      child.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** As references name it. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.process.once('exit', resolve));
    if (this.process.exitCode === null && this.process.kill('SIGKILL')) await gone;
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Puts a blob there by hand, for images no `docker load` would make. */
  async putBlob(repository: string, content: Buffer): Promise<{ digest: string; size: number }> {
    const digest = digestOf(content);
    const begun = await this.#fetch('POST', `/v2/${repository}/blobs/uploads/`);
    const location = new URL(begun.headers.get('location')!, this.#base);
    location.searchParams.set('digest', digest);
    await this.#fetch('PUT', `${location.pathname}${location.search}`, content, 'application/octet-stream');
    return { digest, size: content.length };
  }

  async putManifest(
    repository: string,
    reference: string,
    mediaType: string,
    content: object,
  ): Promise<string> {
    const bytes = Buffer.from(JSON.stringify(content));
    await this.#fetch('PUT', `/v2/${repository}/manifests/${reference}`, bytes, mediaType);
    return digestOf(bytes);
  }

  get #base(): string {
    return `http://${this.host}`;
  }

  async #fetch(method: string, path: string, body?: Buffer, contentType?: string): Promise<Response> {
    const { username, password } = ALICE;
    const response = await fetch(`${this.#base}${path}`, {
      method,
      ...(body ? { body: new Uint8Array(body) } : {}),
      headers: {
        ...(contentType ? { 'content-type': contentType } : {}),
        ...(this.options.isGuarded
          ? { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` }
          : {}),
      },
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  }
}

/** It names its port in its log once it listens. */
function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    child.once('error', (cause) =>
      reject(new Error('docker-registry is missing: install the Debian package docker-registry', { cause })),
    );
    child.once('exit', (code) => reject(new Error(`docker-registry ended with ${code}: ${said.join('\n')}`)));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      said.push(line);
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port) resolve(Number(port));
    });
  });
}
