import { delay } from '@tessera/shared/clock';
import type { InfoJson } from '@tessera/shared/docker-api';
import type { Cli, Verb } from '../../cli.js';
import { ApiError } from '../../cli-error.js';

const POLL_MS = 100;
/** The API changes hands while a manager leaves; after so many looks in vain it is not coming back. */
const LOOKS_IN_VAIN_MAX = 100;

export const leave: Verb = (noun, cli) => {
  noun
    .command('leave')
    .description('Take this host out of its cluster')
    .option('-f, --force', 'even if it is a manager', false)
    .action(async ({ force }: { force: boolean }) => {
      await cli.api.post('/swarm/leave', undefined, { force: force ? 1 : undefined });
      // From elsewhere the host is not seen once it has left.
      if (cli.api.isLocal) await awaitLeft(cli);
      cli.out.line('Node left the cluster.');
    });
};

/** A manager answers before it leaves: its tasks are still to end, and it takes its API along. */
async function awaitLeft(cli: Cli): Promise<void> {
  let inVain = 0;
  for (;;) {
    try {
      const { Swarm } = await cli.api.get<InfoJson>('/info');
      if (Swarm.LocalNodeState === 'inactive') return;
      inVain = 0;
    } catch (error) {
      if (cli.signal.aborted || (error instanceof ApiError && error.status !== 503)) throw error;
      if (++inVain > LOOKS_IN_VAIN_MAX) throw error;
    }
    await delay(cli.clock, POLL_MS, cli.signal);
  }
}
