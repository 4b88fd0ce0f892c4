import { mkdirSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeContainer } from '@tessera/native';
import { Healthcheck, type NetworkAttachment, type PortBinding } from '@tessera/shared/model';
import { z } from 'zod';
import type { ContainerLabels } from '../../containers/runtime.js';
import type { ExitStatus } from '../executor.js';
import type { ExecRequest } from '../live-container.js';
import type { NetworkKind } from './namespaces.js';

// What lies in a container's directory, and outlives agent, shim and boot:
//   container.json  written by the agent before anything else
//   exit            written by the shim when the command has ended
//   log/            segments, written by the shim
//   upper/, work/   of the overlay
// and in its run directory, which does not outlive a boot:
//   run             written by the shim once the command runs
//   shim.sock       where the shim listens
//   exec-ID.json    written by the agent before an exec is started
//   exec-ID         written by the shim when its command runs, and when it has ended
//   frozen          written by the agent before it freezes what runs for the time of a look at its files

const schema = z.object({
  version: z.literal(1),
  id: z.string(),
  taskId: z.string(),
  imageId: z.string(),
  hostname: z.string(),
  bootId: z.string(),
  stopSignal: z.number(),
  stopGraceMs: z.number(),
  attachments: z.array(
    z.object({ networkId: z.string(), addr: z.string(), mac: z.string(), aliases: z.array(z.string()) }),
  ),
  dnsServers: z.array(z.string()).default([]),
  standalone: z.boolean().default(false),
  volumes: z.array(z.string()).default([]),
  ownVolumes: z.array(z.string()).default([]),
  tty: z.boolean().default(false),
  stdin: z.enum(['closed', 'open', 'once']).default('closed'),
  healthcheck: z.unknown().transform(Healthcheck.fromJSON).optional(),
  lendsIpc: z.boolean().default(false),
  filesOf: z.string().default(''),
  labels: z.object({ process: z.string(), mount: z.string() }).optional(),
});

export interface ContainerRecord {
  readonly id: string;
  readonly taskId: string;
  readonly imageId: string;
  readonly hostname: string;
  /** Of the boot it was made in. */
  readonly bootId: string;
  readonly stopSignal: number;
  readonly stopGraceMs: number;
  readonly attachments: readonly NetworkAttachment[];
  /** The user's, whom the next agent is to go on asking. */
  readonly dnsServers: readonly string[];
  /** No task's: `taskId` is its own id, it may run many times, and it stays when it has ended. */
  readonly standalone: boolean;
  /** Names of the volumes it mounts, and of those among them that go with it. */
  readonly volumes: readonly string[];
  readonly ownVolumes: readonly string[];
  readonly tty: boolean;
  /** `once`: closed when the first client that wrote to it has no more. */
  readonly stdin: 'closed' | 'open' | 'once';
  /** Of a task: its own over its image's. */
  readonly healthcheck?: Healthcheck | undefined;
  /** Others may join its IPC. */
  readonly lendsIpc: boolean;
  /** The container whose `hosts`, `resolv.conf` and `hostname` it has, with its network; empty: its own. */
  readonly filesOf: string;
  /** Of SELinux; absent where the host had none when it was made. */
  readonly labels?: ContainerLabels | undefined;
}

// A container that is no task's has one more file, `start.json`: of the run under way, or of the last one. It is there
// from before the shim is told to start until the next run is prepared.

const startSchema = z.object({
  bootId: z.string(),
  network: z.enum(['own', 'none', 'host', 'joined']),
  ownPids: z.boolean(),
  ports: z.array(
    z.object({
      protocol: z.string(),
      containerPort: z.number(),
      hostIp: z.string(),
      hostPort: z.number(),
    }),
  ),
  local: z.object({ addr: z.string(), mac: z.string() }).default({ addr: '', mac: '' }),
});

export interface StartRecord {
  /** The boot that the run began in. */
  readonly bootId: string;
  readonly network: NetworkKind;
  /** False: its processes do not end with its first one. */
  readonly ownPids: boolean;
  readonly ports: readonly PortBinding[];
  /** Its place on the bridge to the outside; empty where it has none. */
  readonly local: { readonly addr: string; readonly mac: string };
}

// What follows is done on the way of every start: a few calls of the kernel that wait for no disk, each quicker than the
// way to another thread and back.

export function writeStart(dataDir: string, record: StartRecord): void {
  writeFileSync(`${dataDir}/start.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${dataDir}/start.new`, `${dataDir}/start.json`);
}

export async function readStart(dataDir: string): Promise<StartRecord | undefined> {
  const text = await readOptional(`${dataDir}/start.json`);
  return text === undefined ? undefined : startSchema.parse(JSON.parse(text));
}

/**
 * Makes way for another run: what the last one left is no longer found. The start's record goes first, since without
 * it nothing counts as a run that a reboot cut short.
 */
export async function forgetRun(dataDir: string, runDir: string): Promise<void> {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  for (const path of [
    `${dataDir}/start.json`,
    `${dataDir}/exit`,
    `${runDir}/run`,
    `${runDir}/shim.sock`,
    `${runDir}/${HOLD}`,
  ])
    unlinkIfAny(path);
  for (const id of execsAmong(readdirSync(runDir))) await removeExec(runDir, id);
}

function unlinkIfAny(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Makes the directories; the record is the first thing in them, so that leftovers can always be named. */
export async function writeRecord(dataDir: string, runDir: string, record: ContainerRecord): Promise<void> {
  const content = Buffer.from(JSON.stringify({ version: 1, ...record }));
  await makeContainer(dataDir, runDir, 'container.json', content);
}

/** The record is on the disk, under its name, once this resolves. */
export async function syncRecord(dataDir: string): Promise<void> {
  for (const path of [`${dataDir}/container.json`, dataDir, dirname(dataDir)]) {
    const file = await open(path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Undefined when there is none, or when a crash left half of one. */
export async function readRecord(dataDir: string): Promise<ContainerRecord | undefined> {
  const text = await readOptional(`${dataDir}/container.json`);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export interface RunRecord {
  readonly pid: number;
  readonly bootId: string;
  readonly startedAtMs: number;
}

export async function readRun(runDir: string): Promise<RunRecord | undefined> {
  const text = await readOptional(`${runDir}/run`);
  if (text === undefined) return undefined;
  const values = parseLines(text);
  return {
    pid: Number(values.get('pid')),
    bootId: values.get('boot') ?? '',
    startedAtMs: secondsToMs(values.get('started')),
  };
}

export async function readExit(dataDir: string): Promise<ExitStatus | undefined> {
  const text = await readOptional(`${dataDir}/exit`);
  return text === undefined ? undefined : parseExit(text);
}

/** The same file for an end that no shim saw. Replaced whole, as the shim does it. */
export async function writeExit(dataDir: string, status: ExitStatus): Promise<void> {
  const text = `code ${status.exitCode}\noom ${status.oomKilled ? 1 : 0}\nfinished ${status.finishedAtMs / 1000}\n`;
  await writeFile(`${dataDir}/exit.agent`, status.error ? `${text}error ${status.error}\n` : text, {
    mode: 0o600,
  });
  await rename(`${dataDir}/exit.agent`, `${dataDir}/exit`);
}

export function parseExit(text: string): ExitStatus {
  const values = parseLines(text);
  const error = values.get('error');
  return {
    exitCode: Number(values.get('code')),
    oomKilled: values.get('oom') === '1',
    finishedAtMs: secondsToMs(values.get('finished')),
    ...(error === undefined ? {} : { error }),
  };
}

/** An exec's record, written by the shim: when its command runs, and again when it has ended. */
export interface ExecRecord {
  readonly process: number;
  readonly pid: number;
  /** Undefined: it runs, or its shim has been lost. */
  readonly exitCode: number | undefined;
}

/** Ids of the execs that have left something in a container's run directory. */
export async function listExecs(runDir: string): Promise<string[]> {
  return execsAmong(await readdir(runDir).catch(() => [] as string[]));
}

const execsAmong = (names: readonly string[]): string[] =>
  names.flatMap((name) => /^exec-([0-9a-z]+)\.json$/.exec(name)?.[1] ?? []);

export async function readExec(runDir: string, id: string): Promise<ExecRecord | undefined> {
  const text = await readOptional(`${runDir}/exec-${id}`);
  if (text === undefined) return undefined;
  const values = parseLines(text);
  const code = values.get('code');
  return {
    process: Number(values.get('process')),
    pid: Number(values.get('pid')),
    exitCode: code === undefined ? undefined : Number(code),
  };
}

/** What was asked for, beside what became of it. */
export async function writeExecRequest(runDir: string, id: string, request: ExecRequest): Promise<void> {
  await writeFile(`${runDir}/exec-${id}.json`, JSON.stringify(request), { mode: 0o600 });
}

export async function readExecRequest(runDir: string, id: string): Promise<ExecRequest | undefined> {
  const text = await readOptional(`${runDir}/exec-${id}.json`);
  try {
    return text === undefined ? undefined : execSchema.parse(JSON.parse(text));
  } catch {
    return undefined; // cut short by a crash
  }
}

export async function removeExec(runDir: string, id: string): Promise<void> {
  await Promise.all(
    [`exec-${id}.json`, `exec-${id}`].map((name) => rm(`${runDir}/${name}`, { force: true })),
  );
}

const HOLD = 'frozen';

export const writeHold = (runDir: string): Promise<void> =>
  writeFile(`${runDir}/${HOLD}`, '', { mode: 0o600 });
export const removeHold = (runDir: string): Promise<void> => rm(`${runDir}/${HOLD}`, { force: true });
export const readHold = async (runDir: string): Promise<boolean> =>
  (await readOptional(`${runDir}/${HOLD}`)) !== undefined;

const execSchema = z.object({
  args: z.array(z.string()),
  env: z.array(z.string()),
  user: z.string(),
  workingDir: z.string(),
  privileged: z.boolean(),
  tty: z.boolean(),
  stdin: z.boolean(),
  size: z.object({ rows: z.number(), columns: z.number() }).optional(),
  detachKeys: z.string().optional(),
});

/** Lines of "key value". */
function parseLines(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const space = line.indexOf(' ');
      return space < 0 ? [] : [[line.slice(0, space), line.slice(space + 1)]];
    }),
  );
}

const secondsToMs = (text = '0'): number => Math.round(Number(text) * 1000);

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
