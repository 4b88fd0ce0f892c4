import { delay } from '@tessera/shared/clock';
import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';
import type { Cli } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { encodeFilters } from '../../client/api-client.js';
import type { Output } from '../../output/output.js';
import { type Progress, planProgress } from './progress.js';

const POLL_MS = 100;
/** How long all tasks must run without a change until that is believed: a command that crashes does so by then. */
const STABLE_MS = 1_000;

/**
 * Shows a service's progress until all its tasks have run for a moment.
 *
 * @param name how the user called the service
 * @throws CliError when an update is paused or rolled back, or with exit code 130 on Ctrl-C
 */
export async function awaitConverged(
  cli: Cli,
  id: string,
  name: string,
  { quiet }: { readonly quiet: boolean },
): Promise<void> {
  const display = quiet ? undefined : cli.out.isTty ? new LiveLines(cli.out) : new PlainLines(cli.out);
  let stableSinceMs: number | undefined;
  try {
    for (;;) {
      const progress = await look(cli, id);
      display?.show(progress);
      if (progress.failure) throw new CliError(progress.failure);

      const nowMs = cli.clock.monotonic();
      stableSinceMs = progress.isComplete ? (stableSinceMs ?? nowMs) : undefined;
      if (stableSinceMs !== undefined && nowMs - stableSinceMs >= STABLE_MS) break;
      await delay(cli.clock, POLL_MS, cli.signal);
    }
  } catch (error) {
    if (cli.signal.aborted) {
      cli.out.note('Operation continuing in background.');
      cli.out.note(`Use \`tsctl service ps ${name}\` to check progress.`);
    }
    throw error;
  }
  if (!quiet) cli.out.line(`verify: Service ${name} converged`);
}

async function look(cli: Cli, id: string): Promise<Progress> {
  const filters = encodeFilters({ service: [id], '_up-to-date': ['true'] });
  const [service, tasks, nodes] = await Promise.all([
    cli.api.get<ServiceJson>(`/services/${id}`),
    cli.api.get<TaskJson[]>('/tasks', { filters }),
    cli.api.get<NodeJson[]>('/nodes'),
  ]);
  return planProgress(service, tasks, nodes);
}

/** For pipes and files: a line whenever the sum has changed. */
class PlainLines {
  #last = '';
  constructor(private readonly out: Output) {}

  show({ summary, waiting }: Progress): void {
    const text = [summary, ...waiting].join('\n');
    if (text === this.#last) return;
    this.#last = text;
    this.out.line(text);
  }
}

/** For terminals: the same lines, written over as they change. */
class LiveLines {
  #shown: readonly string[] = [];
  constructor(private readonly out: Output) {}

  show({ summary, slots }: Progress): void {
    const lines = [summary, ...slots].map((line) => line.slice(0, this.out.columns - 1));
    if (lines.join('\n') === this.#shown.join('\n')) return;
    const up = this.#shown.length > 0 ? `\x1b[${this.#shown.length}A` : '';
    const cleared = lines.map((line) => `\x1b[2K${line}\n`).join('');
    // What an earlier, longer picture has left below goes as well.
    this.out.text(`${up}${cleared}\x1b[J`);
    this.#shown = lines;
  }
}
