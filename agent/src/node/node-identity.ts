import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterError } from '@tessera/shared/errors';
import { z } from 'zod';
import type { NodeCredentials } from '../session/index.js';
import { readFileIfAny, writePrivateFile } from './files.js';

const IDENTITY = z.object({
  nodeId: z.string().min(1),
  clusterId: z.string().min(1),
  role: z.enum(['worker', 'manager']),
  /** HOST:PORT of managers' gRPC servers, as last heard. */
  managerAddrs: z.array(z.string()),
  /** Highest incarnation of the cluster seen. */
  incarnation: z.number().int().nonnegative(),
});

/** Who this node is in its cluster. */
export type NodeIdentity = Readonly<z.infer<typeof IDENTITY>>;

/** How this node takes part, as said when it was initialised or joined. */
const SETTINGS = z.object({
  listenAddr: z.string(),
  advertiseAddr: z.string(),
  dataPathAddr: z.string(),
});
export type NodeSettings = Readonly<z.infer<typeof SETTINGS>>;

/** The node's key, certificate and standing, in `<data-dir>/node`. */
export class NodeDirectory {
  constructor(readonly path: string) {}

  /** Undefined while this node is in no cluster: the identity is the last file that joining writes. */
  identity(): NodeIdentity | undefined {
    return this.#parsed('identity.json', IDENTITY);
  }

  writeIdentity(identity: NodeIdentity): void {
    this.#write('identity.json', `${JSON.stringify(identity, null, 2)}\n`);
  }

  settings(): NodeSettings | undefined {
    return this.#parsed('settings.json', SETTINGS);
  }

  writeSettings(settings: NodeSettings): void {
    this.#write('settings.json', `${JSON.stringify(settings, null, 2)}\n`);
  }

  /** @throws ClusterError `failedPrecondition` when a file is missing */
  credentials(): NodeCredentials {
    return {
      keyPem: this.#required('key.pem'),
      certPem: this.#required('cert.pem'),
      caCertPem: this.#required('ca.pem'),
    };
  }

  /** A key made for a request that has not been answered yet; the same one is used when it is repeated. */
  pendingKey(): string | undefined {
    return readFileIfAny(join(this.path, 'key.pem'));
  }

  writeRequest(keyPem: string, csrPem: string): void {
    this.#write('key.pem', keyPem);
    this.#write('csr.pem', csrPem);
  }

  writeCertificates(certPem: string, caCertPem: string, managerBootstrap: string): void {
    this.#write('ca.pem', caCertPem);
    this.#write('cert.pem', certPem);
    if (managerBootstrap) this.#write('manager-bootstrap.json', managerBootstrap);
  }

  /** Forgets the cluster. The identity goes first: without it the rest is only leftovers. */
  clear(): void {
    rmSync(join(this.path, 'identity.json'), { force: true });
    rmSync(this.path, { recursive: true, force: true });
  }

  #parsed<T>(name: string, schema: z.ZodType<T>): T | undefined {
    const text = readFileIfAny(join(this.path, name));
    if (text === undefined) return undefined;
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      throw new ClusterError('failedPrecondition', `${join(this.path, name)} is damaged`, { cause: error });
    }
  }

  #required(name: string): string {
    const text = readFileIfAny(join(this.path, name));
    if (text === undefined)
      throw new ClusterError('failedPrecondition', `${join(this.path, name)} is missing`);
    return text;
  }

  #write(name: string, content: string): void {
    writePrivateFile(join(this.path, name), content);
  }
}
