import type { Verb } from '../../cli.js';
import { logFrames } from '../../client/log-frames.js';
import { parseSince } from '../../output/parse.js';

interface Flags {
  readonly details: boolean;
  readonly follow: boolean;
  readonly since?: string;
  readonly tail: string;
  readonly timestamps: boolean;
  readonly until?: string;
}

export const logs: Verb = (noun, cli) => {
  noun
    .command('logs')
    .description('Show what a container has written')
    .argument('<container>', 'name or id')
    .option('--details', 'show what its log driver adds', false)
    .option('-f, --follow', 'go on with what it writes', false)
    .option('--since <time>', 'only later ones: a time, or a duration before now such as 42m')
    .option('-n, --tail <lines>', 'lines from the end, or all', 'all')
    .option('-t, --timestamps', 'show times', false)
    .option('--until <time>', 'only earlier ones')
    .action(async (name: string, flags: Flags) => {
      const path = `/containers/${encodeURIComponent(name)}`;
      const nowMs = cli.clock.now();
      const { Config: config } = await cli.api.get<{ Config: { Tty: boolean } }>(`${path}/json`);
      const source = await cli.api.stream('GET', `${path}/logs`, {
        query: {
          stdout: true,
          stderr: true,
          details: flags.details,
          follow: flags.follow,
          tail: flags.tail,
          timestamps: flags.timestamps,
          since: flags.since && parseSince('--since', flags.since, nowMs),
          until: flags.until && parseSince('--until', flags.until, nowMs),
        },
      });
      if (config.Tty) for await (const chunk of source) await cli.out.bytes(chunk as Buffer, 'stdout');
      else for await (const { stream, content } of logFrames(source)) await cli.out.bytes(content, stream);
    });
};
