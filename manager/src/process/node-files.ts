import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterError } from '@tessera/shared/errors';
import { z } from 'zod';
import type { TlsIdentity } from '../rpc/index.js';

const IDENTITY = z.object({ nodeId: z.string().min(1), clusterId: z.string().min(1) });

export interface NodeIdentity {
  readonly nodeId: string;
  readonly clusterId: string;
}
export interface NewIdentity extends NodeIdentity {
  readonly managerAddrs: readonly string[];
  readonly incarnation: number;
  readonly certPem: string;
  readonly caCertPem: string;
}

/** The node's key and certificate, which `tsd` and its manager share. docs/building.md has the files. */
export class NodeFiles {
  constructor(private readonly dir: string) {}

  /** Undefined while this node is in no cluster. */
  identity(): NodeIdentity | undefined {
    const text = this.#read('identity.json');
    if (text === undefined) return undefined;
    const parsed = IDENTITY.safeParse(parseJson(text));
    if (!parsed.success)
      throw new ClusterError('failedPrecondition', `${join(this.dir, 'identity.json')} is damaged`);
    return parsed.data;
  }

  /** @throws ClusterError `failedPrecondition` when a file is missing */
  tls(): TlsIdentity {
    const [keyPem, certPem, caCertPem] = ['key.pem', 'cert.pem', 'ca.pem'].map((name) => this.#require(name));
    return { keyPem: keyPem!, certPem: certPem!, caCertPem: caCertPem! };
  }

  /** Changes whenever the certificate is written anew. */
  certificateVersion(): string {
    const { ino, mtimeMs } = statSync(join(this.dir, 'cert.pem'));
    return `${ino} ${mtimeMs}`;
  }

  signingRequest(): string {
    return this.#require('csr.pem');
  }

  /** Writes what `tsd` would after joining. The identity comes last: with it the rest is complete. */
  writeIdentity({ certPem, caCertPem, ...identity }: NewIdentity): void {
    this.#write('ca.pem', caCertPem);
    this.#write('cert.pem', certPem);
    this.#write('identity.json', `${JSON.stringify({ ...identity, role: 'manager' }, null, 2)}\n`);
  }

  #require(name: string): string {
    const text = this.#read(name);
    if (text === undefined)
      throw new ClusterError('failedPrecondition', `${join(this.dir, name)} is missing: init or join first`);
    return text;
  }

  #read(name: string): string | undefined {
    try {
      return readFileSync(join(this.dir, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Whole or not at all, also after a power cut. */
  #write(name: string, content: string): void {
    const path = join(this.dir, name);
    const temporary = `${path}.${process.pid}.tmp`;
    const file = openSync(temporary, 'w', 0o600);
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
