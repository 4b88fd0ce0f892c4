import { posix } from 'node:path';
import { invalid } from '@tessera/shared/errors';
import { parseGoDuration } from '@tessera/shared/units';
import { signalNumber } from '../signal-number.js';
import { type Environment, environmentOf, expand, expandWords } from './expansion.js';
import { exposedPorts } from './exposed-ports.js';
import {
  type Instruction,
  parseInstruction,
  parseInstructions,
  parseJsonArray,
  parsePairs,
  splitBlanks,
  splitFirst,
} from './instruction.js';

/** What an image says of its containers, as its configuration file has it. Source: OCI image spec, config.md. */
export interface ImageRunConfigJson {
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Env?: readonly string[] | null;
  readonly ExposedPorts?: Readonly<Record<string, object>> | null;
  readonly Healthcheck?: HealthcheckJson | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly OnBuild?: readonly string[] | null;
  readonly Shell?: readonly string[] | null;
  readonly StopSignal?: string;
  readonly User?: string;
  readonly Volumes?: Readonly<Record<string, object>> | null;
  readonly WorkingDir?: string;
  readonly [other: string]: unknown;
}

/** Durations in nanoseconds. */
export interface HealthcheckJson {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

/**
 * A configuration as the instructions of `docker commit --change` and `docker import --change` leave it. They are read as
 * dockerd reads them: the same instructions are known, and variables mean the image's own `Env`.
 *
 * @param config may be empty; what no instruction concerns stays as it is
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export function applyImageChanges(
  config: ImageRunConfigJson,
  changes: readonly string[],
): ImageRunConfigJson {
  if (changes.length === 0) return config;
  const instructions = parseInstructions(changes.join('\n'));
  // Before any is looked into: which instructions are known is said first.
  for (const { name } of instructions) {
    if (!Object.hasOwn(CHANGES, name.toUpperCase())) throw invalid(`${name} is not a valid change command`);
  }
  let changed = config;
  let isCommandGiven = false;
  for (const instruction of instructions) {
    const name = instruction.name.toUpperCase() as keyof typeof CHANGES;
    changed = { ...changed, ...CHANGES[name](instruction, changed) };
    // An entrypoint of its own does away with arguments that were meant for another.
    if (name === 'ENTRYPOINT' && !isCommandGiven) changed = { ...changed, Cmd: null };
    isCommandGiven ||= name === 'CMD' && (changed.Cmd ?? []).length > 0;
  }
  return changed;
}

type Change = (instruction: Instruction, config: ImageRunConfigJson) => ImageRunConfigJson;

/** SHELL, RUN and the like are no changes. Source: moby builder/dockerfile/builder.go, validCommitCommands. */
const CHANGES = {
  CMD: (instruction, config) => ({ Cmd: commandLine(instruction, config) }),
  ENTRYPOINT: (instruction, config) => {
    const line = instruction.rest === '' ? [] : commandLine(instruction, config);
    return { Entrypoint: line.length > 0 ? line : null };
  },
  ENV: (instruction, config) => ({ Env: withPairs(config.Env ?? [], pairs(instruction, config)) }),
  EXPOSE: (instruction, config) => {
    const words = splitBlanks(unflagged(instruction));
    if (words.length === 0) throw atLeastOne('EXPOSE');
    const ports = words.flatMap((word) => expandWords(word, environment(config))).flatMap(exposedPorts);
    return { ExposedPorts: { ...config.ExposedPorts, ...asSet(ports) } };
  },
  HEALTHCHECK: (instruction) => ({ Healthcheck: healthcheck(instruction) }),
  LABEL: (instruction, config) => ({
    Labels: { ...config.Labels, ...Object.fromEntries(pairs(instruction, config)) },
  }),
  ONBUILD: (instruction, config) => ({ OnBuild: [...(config.OnBuild ?? []), trigger(instruction)] }),
  STOPSIGNAL: (instruction, config) => {
    const StopSignal = onlyArgument(instruction, config);
    signalNumber(StopSignal);
    return { StopSignal };
  },
  USER: (instruction, config) => ({ User: onlyArgument(instruction, config) }),
  VOLUME: (instruction, config) => {
    const rest = unflagged(instruction);
    const paths = parseJsonArray(rest) ?? splitBlanks(rest);
    if (paths.length === 0) throw atLeastOne('VOLUME');
    const expanded = paths.map((path) => expand(path.trim(), environment(config)));
    if (expanded.includes('')) throw invalid('VOLUME specified can not be an empty string');
    return { Volumes: { ...config.Volumes, ...asSet(expanded) } };
  },
  WORKDIR: (instruction, config) => {
    const path = onlyArgument(instruction, config);
    if (path === '') throw invalid('cannot normalize nothing');
    const isAbsolute = path.startsWith('/');
    return { WorkingDir: isAbsolute ? path : posix.join('/', config.WorkingDir ?? '', path) };
  },
} satisfies Record<string, Change>;

const DEFAULT_SHELL = ['/bin/sh', '-c'];

const atLeastOne = (name: string) => invalid(`${name} requires at least one argument`);
const environment = (config: ImageRunConfigJson): Environment => environmentOf(config.Env ?? []);
const asSet = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, {}]));

/** The exec form as it is; anything else is for the image's shell. */
function commandLine(instruction: Instruction, { Shell }: ImageRunConfigJson): readonly string[] {
  const rest = unflagged(instruction);
  const words = parseJsonArray(rest);
  if (words) return words;
  return [...(Shell?.length ? Shell : DEFAULT_SHELL), ...(rest === '' ? [] : [rest])];
}

function onlyArgument(instruction: Instruction, config: ImageRunConfigJson): string {
  const rest = unflagged(instruction);
  if (rest === '') throw invalid(`${instruction.name.toUpperCase()} requires exactly one argument`);
  return expand(rest, environment(config));
}

function pairs(instruction: Instruction, config: ImageRunConfigJson): (readonly [string, string])[] {
  const values = environment(config);
  return parsePairs(instruction.name.toUpperCase(), unflagged(instruction)).map(
    ([key, value]) => [expand(key, values), expand(value, values)] as const,
  );
}

/** A name that is there already keeps its place. */
function withPairs(env: readonly string[], added: readonly (readonly [string, string])[]): string[] {
  const result = [...env];
  for (const [key, value] of added) {
    const at = result.findIndex((entry) => entry.split('=', 1)[0] === key);
    result.splice(at < 0 ? result.length : at, 1, `${key}=${value}`);
  }
  return result;
}

function trigger(instruction: Instruction): string {
  const rest = unflagged(instruction);
  if (rest === '') throw atLeastOne('ONBUILD');
  const name = parseInstruction(rest).name.toUpperCase();
  if (name === 'ONBUILD') throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (name === 'MAINTAINER' || name === 'FROM') throw invalid(`${name} isn't allowed as an ONBUILD trigger`);
  return rest;
}

/** Only HEALTHCHECK has flags. */
function unflagged({ flags: [flag], rest }: Instruction): string {
  if (flag !== undefined) throw unknownFlag(flag);
  return rest;
}

const unknownFlag = (flag: string) => invalid(`unknown flag: ${flag.split('=', 1)[0]}`);

const DURATION_FLAGS = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const;
const DURATION_MIN_NS = 1e6;

function healthcheck({ flags, rest }: Instruction): HealthcheckJson {
  const { first, rest: command } = splitFirst(rest);
  const kind = first.toUpperCase();
  if (kind === '') throw atLeastOne('HEALTHCHECK');
  if (kind === 'NONE') {
    if (command !== '') throw invalid('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  const options = healthcheckOptions(flags);
  if (kind !== 'CMD') throw invalid(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`);
  const words = parseJsonArray(command);
  if ((words ?? command).length === 0) throw invalid('Missing command after HEALTHCHECK CMD');
  return { Test: words ? ['CMD', ...words] : ['CMD-SHELL', command], ...options };
}

function healthcheckOptions(flags: readonly string[]): HealthcheckJson {
  const options: Record<string, number> = {};
  const seen = new Set<string>();
  for (const flag of flags) {
    const [, name = '', value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(flag) ?? [];
    const isDuration = Object.hasOwn(DURATION_FLAGS, name);
    if (!isDuration && name !== 'retries') throw unknownFlag(flag);
    if (seen.has(name)) throw invalid(`Duplicate flag specified: ${name}`);
    if (value === undefined) throw invalid(`Missing a value on flag: ${name}`);
    seen.add(name);
    if (value === '') continue;
    if (isDuration) options[DURATION_FLAGS[name as keyof typeof DURATION_FLAGS]] = duration(name, value);
    else options.Retries = retries(value);
  }
  return options;
}

function duration(name: string, value: string): number {
  const ns = parseGoDuration(value);
  if (ns === undefined) throw invalid(`time: invalid duration ${JSON.stringify(value)}`);
  if (ns !== 0 && ns < DURATION_MIN_NS) {
    throw invalid(`Interval ${JSON.stringify(name)} cannot be less than 1ms`);
  }
  return ns;
}

function retries(value: string): number {
  if (!/^[+-]?\d{1,9}$/.test(value)) {
    throw invalid(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
  if (Number(value) < 0) throw invalid(`--retries cannot be negative (${Number(value)})`);
  return Number(value);
}
