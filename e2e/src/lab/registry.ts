import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { ended, hasEnded } from './command.js';
import type { LabHost } from './host.js';

/** Of `alice` with the password `pass:word`: bcrypt, which is all that the registry reads. */
const HTPASSWD = 'alice:$2b$04$UTmhDVV.VWiiiaUayeG84utunzVjI.PmXczhNCBFl5VsE6L34tPTG';
const PORT = 5000;

/** What agents of a lab are started with so that its registry, which has no TLS, is asked. */
export const INSECURE_REGISTRY_ARGS = ['--insecure-registry', '10.0.0.0/8'];

/** Debian's docker-registry on one host of a lab, reached by the others over the lab's wires. */
export class LabRegistry {
  private constructor(
    private readonly server: ChildProcess,
    /** As references name it. */
    readonly host: string,
  ) {}

  /** It dies with the host. @param isGuarded whether it asks for alice's password */
  static async start(on: LabHost, options: { readonly isGuarded?: boolean; readonly port?: number } = {}) {
    const { isGuarded = false, port = PORT } = options;
    const directory = `${on.dir}/registry-${port}`;
    mkdirSync(`${directory}/data`, { recursive: true });
    writeFileSync(`${directory}/htpasswd`, `${HTPASSWD}\n`);
    const config = {
      version: '0.1',
      log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: `${directory}/data` }, delete: { enabled: true } },
      http: { addr: `${on.address}:${port}` },
      ...(isGuarded ? { auth: { htpasswd: { realm: 'lab', path: `${directory}/htpasswd` } } } : {}),
    };
    // JSON is YAML.
    writeFileSync(`${directory}/config.yml`, JSON.stringify(config));
    const [file, ...args] = on.enterCommand(['docker-registry', 'serve', `${directory}/config.yml`]) as [
      string,
      ...string[],
    ];
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`docker-registry ended with ${code}`)));
      createInterface({ input: child.stderr }).on('line', (line) => {
        if (line.includes('listening on')) resolve();
      });
    });
    return new LabRegistry(child, `${on.address}:${port}`);
  }

  async stop(): Promise<void> {
    if (hasEnded(this.server)) return;
    // The child here is nsenter, which waits for the real one.
    const { pid } = this.server;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    for (const child of children.split(' ').filter(Boolean)) process.kill(Number(child), 'SIGKILL');
    await ended(this.server);
  }
}
