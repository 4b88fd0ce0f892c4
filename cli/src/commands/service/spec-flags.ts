import type { Command } from 'commander';
import { badFlag } from '../../cli-error.js';
import { parseBytes, parseCount, parseCpus, parseDuration, parseWords } from '../../output/parse.js';
import type { SpecDraft } from './spec-draft.js';

/** A flag with one value, and what it does to a spec. */
interface SpecFlag {
  readonly flags: string;
  readonly description: string;
  readonly parse?: (value: string) => unknown;
  readonly apply: (draft: SpecDraft, value: never) => void;
}

const text = (
  flags: string,
  description: string,
  apply: (draft: SpecDraft, value: string) => void,
): SpecFlag => ({ flags, description, apply });

const flag = (
  flags: string,
  description: string,
  apply: (draft: SpecDraft, value: boolean) => void,
): SpecFlag => ({ flags, description, apply });

const number = (
  parser: (flag: string) => (value: string) => number,
  flags: string,
  description: string,
  apply: (draft: SpecDraft, value: number) => void,
): SpecFlag => ({ flags, description, parse: parser(flags.split(' ')[0]!), apply });

/** Flags that `service create` and `service update` share. Each is named and meant as docker's. */
const SPEC_FLAGS: readonly SpecFlag[] = [
  number(parseCount, '--replicas <number>', 'number of tasks', ({ spec }, value) => {
    if (spec.Mode && !spec.Mode.Replicated) {
      throw badFlag('--replicas', String(value), 'a global service has one task on each node; leave it out');
    }
    spec.Mode = { Replicated: { Replicas: value } };
  }),
  number(parseCpus, '--limit-cpu <cpus>', 'most CPUs a task may use', ({ limits }, value) => {
    limits.NanoCPUs = value;
  }),
  number(
    parseBytes,
    '--limit-memory <bytes>',
    'most memory a task may use, such as 64M',
    ({ limits }, value) => {
      limits.MemoryBytes = value;
    },
  ),
  number(parseCount, '--limit-pids <number>', 'most processes a task may have', ({ limits }, value) => {
    limits.Pids = value;
  }),
  number(parseCpus, '--reserve-cpu <cpus>', 'CPUs to keep free for a task', ({ reservations }, value) => {
    reservations.NanoCPUs = value;
  }),
  number(
    parseBytes,
    '--reserve-memory <bytes>',
    'memory to keep free for a task',
    ({ reservations }, value) => {
      reservations.MemoryBytes = value;
    },
  ),
  text('--hostname <name>', "container's host name", ({ container }, value) => {
    container.Hostname = value;
  }),
  text('-u, --user <user>', 'user name or uid, with :group', ({ container }, value) => {
    container.User = value;
  }),
  text('-w, --workdir <dir>', 'working directory in the container', ({ container }, value) => {
    container.Dir = value;
  }),
  text('--entrypoint <command>', "replaces the image's entry point", ({ container }, value) => {
    container.Command = parseWords('--entrypoint')(value);
  }),
  flag('-t, --tty', 'a terminal for the container', ({ container }, value) => {
    container.TTY = value;
  }),
  flag('--read-only', 'root file system read-only', ({ container }, value) => {
    container.ReadOnly = value;
  }),
  flag('--init', 'a small init as first process', ({ container }, value) => {
    container.Init = value;
  }),
  text('--stop-signal <signal>', 'signal to stop with', ({ container }, value) => {
    container.StopSignal = value;
  }),
  number(
    parseDuration,
    '--stop-grace-period <duration>',
    'time to stop before it is killed',
    ({ container }, value) => {
      container.StopGracePeriod = value;
    },
  ),
  number(
    parseInteger,
    '--oom-score-adj <number>',
    'preference of the OOM killer, -1000 to 1000',
    ({ container }, value) => {
      container.OomScoreAdj = value;
    },
  ),
  text('--restart-condition <when>', 'none, on-failure or any', ({ restart }, value) => {
    restart.Condition = value;
  }),
  number(parseDuration, '--restart-delay <duration>', 'between restarts', ({ restart }, value) => {
    restart.Delay = value;
  }),
  number(parseCount, '--restart-max-attempts <number>', 'restarts before giving up', ({ restart }, value) => {
    restart.MaxAttempts = value;
  }),
  number(
    parseDuration,
    '--restart-window <duration>',
    'in which restarts are counted',
    ({ restart }, value) => {
      restart.Window = value;
    },
  ),
  number(parseCount, '--replicas-max-per-node <number>', 'most tasks on one node', ({ placement }, value) => {
    placement.MaxReplicas = value;
  }),
  text('--endpoint-mode <mode>', 'vip or dnsrr', ({ spec }, value) => {
    spec.EndpointSpec = { ...spec.EndpointSpec, Mode: value };
  }),
  text('--log-driver <name>', 'log driver', ({ logDriver }, value) => {
    logDriver.Name = value;
  }),
  flag('--no-healthcheck', "switch the image's health check off", ({ container }, value) => {
    // Commander gives `--no-x` as x: false, and x: true when the flag is not there.
    if (!value) container.Healthcheck = { Test: ['NONE'] };
  }),
  text('--health-cmd <command>', 'command that tells health', ({ health }, value) => {
    health.Test = ['CMD-SHELL', value];
  }),
  number(parseDuration, '--health-interval <duration>', 'between health checks', ({ health }, value) => {
    health.Interval = value;
  }),
  number(parseDuration, '--health-timeout <duration>', 'for one health check', ({ health }, value) => {
    health.Timeout = value;
  }),
  number(
    parseDuration,
    '--health-start-period <duration>',
    'in which failures do not count',
    ({ health }, value) => {
      health.StartPeriod = value;
    },
  ),
  number(
    parseDuration,
    '--health-start-interval <duration>',
    'between checks in the start period',
    ({ health }, value) => {
      health.StartInterval = value;
    },
  ),
  number(
    parseCount,
    '--health-retries <number>',
    'failures in a row until unhealthy',
    ({ health }, value) => {
      health.Retries = value;
    },
  ),
  ...updateFlags('update', ({ update }) => update),
  ...updateFlags('rollback', ({ rollback }) => rollback),
];

function updateFlags(what: 'update' | 'rollback', of: (draft: SpecDraft) => SpecDraft['update']): SpecFlag[] {
  return [
    number(
      parseCount,
      `--${what}-parallelism <number>`,
      `tasks to ${what} at once, 0 for all`,
      (draft, value) => {
        of(draft).Parallelism = value;
      },
    ),
    number(parseDuration, `--${what}-delay <duration>`, `between ${what}s of tasks`, (draft, value) => {
      of(draft).Delay = value;
    }),
    text(
      `--${what}-failure-action <action>`,
      what === 'update' ? 'pause, continue or rollback' : 'pause or continue',
      (draft, value) => {
        of(draft).FailureAction = value;
      },
    ),
    number(parseDuration, `--${what}-monitor <duration>`, 'how long each task is watched', (draft, value) => {
      of(draft).Monitor = value;
    }),
    number(
      parseRatio,
      `--${what}-max-failure-ratio <ratio>`,
      'share that may fail, 0 to 1',
      (draft, value) => {
        of(draft).MaxFailureRatio = value;
      },
    ),
    text(`--${what}-order <order>`, 'stop-first or start-first', (draft, value) => {
      of(draft).Order = value;
    }),
  ];
}

function parseInteger(name: string): (value: string) => number {
  return (value) => {
    if (!/^-?\d{1,9}$/.test(value)) throw badFlag(name, value, 'give a whole number');
    return Number(value);
  };
}

function parseRatio(name: string): (value: string) => number {
  return (value) => {
    const ratio = Number(value);
    if (value === '' || !(ratio >= 0 && ratio <= 1)) throw badFlag(name, value, 'give a number from 0 to 1');
    return ratio;
  };
}

/** Offers the flags on a command. Gives what writes those that were given into a draft. */
export function addSpecFlags(
  command: Command,
): (draft: SpecDraft, values: Readonly<Record<string, unknown>>) => void {
  const known = SPEC_FLAGS.map((spec) => {
    const option = command.createOption(spec.flags, spec.description);
    if (spec.parse) option.argParser(spec.parse);
    command.addOption(option);
    return { spec, key: command.options.at(-1)!.attributeName() };
  });
  return (draft, values) => {
    for (const { spec, key } of known) {
      const value = values[key];
      if (value !== undefined) spec.apply(draft, value as never);
    }
  };
}
