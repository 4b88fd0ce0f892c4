import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { EtcdSupervisor } from '../../etcd/etcd-supervisor.js';
import { EtcdKv } from '../kv/etcd-kv.js';

/** A real etcd for one test file, in a directory of its own. */
export interface TestEtcd {
  readonly supervisor: EtcdSupervisor;
  readonly endpoint: string;
  /** A client of its own, closed when the server is stopped. */
  connect(): EtcdKv;
  /** Signals the server. The supervisor starts it again after a SIGKILL. */
  signal(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };

export async function startTestEtcd(): Promise<TestEtcd> {
  const directory = mkdtempSync(join(tmpdir(), 'tessera-etcd-'));
  const supervisor = new EtcdSupervisor({
    ...env,
    name: 'test',
    dataDir: join(directory, 'data'),
    runDir: join(directory, 'run'),
    // It must not outlive tests that are killed.
    command: ['setpriv', '--pdeathsig', 'KILL', '--', '/usr/bin/etcd'],
  });
  const clients: EtcdKv[] = [];
  await supervisor.start();
  return {
    supervisor,
    endpoint: supervisor.endpoint,
    connect() {
      const kv = new EtcdKv(env, { endpoints: [supervisor.endpoint] });
      clients.push(kv);
      return kv;
    },
    signal: (signal) => void process.kill(supervisor.pid!, signal),
    async stop() {
      for (const client of clients) client.close();
      await supervisor.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
