import { invalid } from '@tessera/shared/errors';
import type { TopResult } from '@tessera/shared/wire';
import type { ProcessEntry } from '../executor/live-container.js';

// `docker top`: processes as ps(1) shows them. Docker runs the host's ps with the user's words; here its usual columns
// are made from what the kernel says, and other words are refused by name.

interface Column {
  readonly title: string;
  readonly value: (entry: ProcessEntry, host: TopHost) => string;
}

/** What of the host is in the table. */
export interface TopHost {
  readonly nowMs: number;
  readonly memoryBytes: number;
  /** Names of users, by id. */
  readonly users: ReadonlyMap<number, string>;
}

const column = (title: string, value: Column['value']): Column => ({ title, value });
const pad = (value: number): string => String(Math.floor(value)).padStart(2, '0');
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const DAY_S = 86_400;

/** A name, or the number where it has none or one that does not fit its column. */
const userOf = ({ uid }: ProcessEntry, { users }: TopHost): string => {
  const name = users.get(uid) ?? '';
  return name !== '' && name.length <= 8 ? name : String(uid);
};

/** The time of a start: today's by the clock, an earlier one by its day. */
function startOf({ startedAtMs }: ProcessEntry, { nowMs }: TopHost): string {
  const [start, now] = [new Date(startedAtMs), new Date(nowMs)];
  return start.toDateString() === now.toDateString()
    ? `${pad(start.getHours())}:${pad(start.getMinutes())}`
    : `${MONTHS[start.getMonth()]}${pad(start.getDate())}`;
}

/** [DD-]HH:MM:SS */
function cpuTime({ cpuSeconds }: ProcessEntry): string {
  const days = Math.floor(cpuSeconds / DAY_S);
  const clock = [(cpuSeconds % DAY_S) / 3600, (cpuSeconds % 3600) / 60, cpuSeconds % 60].map(pad).join(':');
  return days > 0 ? `${pad(days)}-${clock}` : clock;
}

/** M:SS, as BSD's ps has it. */
function minutes({ cpuSeconds }: ProcessEntry): string {
  return `${Math.floor(cpuSeconds / 60)}:${pad(cpuSeconds % 60)}`;
}

const USER = column('USER', userOf);
const PID = column('PID', ({ pid }) => String(pid));
const PPID = column('PPID', ({ parentPid }) => String(parentPid));
const CPU = column('%CPU', ({ cpuPercent }) => cpuPercent.toFixed(1));
const MEMORY = column('%MEM', ({ residentBytes }, { memoryBytes }) =>
  ((residentBytes / memoryBytes) * 100).toFixed(1),
);
const kib = (bytes: number): string => String(Math.floor(bytes / 1_024));
const VIRTUAL = column('VSZ', ({ virtualBytes }) => kib(virtualBytes));
const RESIDENT = column('RSS', ({ residentBytes }) => kib(residentBytes));
const STATE = column('STAT', ({ state }) => state);
const LETTER = column('S', ({ state }) => state.slice(0, 1));
const TTY = column('TTY', ({ terminal }) => terminal);
const START = column('STIME', startOf);
const TIME = column('TIME', cpuTime);
const CMD = column('CMD', ({ command }) => command);
const COMMAND = { ...CMD, title: 'COMMAND' };

const FULL = [
  { ...USER, title: 'UID' },
  PID,
  PPID,
  column('C', ({ cpuPercent }) => String(Math.floor(cpuPercent))),
  START,
  TTY,
  TIME,
  CMD,
];

const AUX = [
  USER,
  PID,
  CPU,
  MEMORY,
  VIRTUAL,
  RESIDENT,
  TTY,
  STATE,
  { ...START, title: 'START' },
  { ...TIME, value: minutes },
  COMMAND,
];

/** Columns of `-o`, by ps's names. */
const BY_NAME: Readonly<Record<string, Column>> = {
  pid: PID,
  ppid: PPID,
  user: USER,
  euser: { ...USER, title: 'EUSER' },
  uid: column('UID', ({ uid }) => String(uid)),
  euid: column('EUID', ({ uid }) => String(uid)),
  pcpu: CPU,
  '%cpu': CPU,
  tty: TTY,
  tt: { ...TTY, title: 'TT' },
  stime: START,
  start: { ...START, title: 'STARTED' },
  time: TIME,
  cputime: TIME,
  '%mem': MEMORY,
  pmem: MEMORY,
  vsz: VIRTUAL,
  rss: RESIDENT,
  stat: STATE,
  state: LETTER,
  s: LETTER,
  comm: column('COMMAND', ({ name }) => name),
  cmd: CMD,
  args: COMMAND,
  command: COMMAND,
};

/** @throws ClusterError `invalidArgument` for what only ps itself could show */
function columnsOf(psArgs: string): readonly Column[] {
  const words = psArgs.trim().split(/\s+/).filter(Boolean);
  const joined = words.join(' ');
  if (['', '-ef', '-eF', 'ef', '-f'].includes(joined)) return FULL;
  if (['aux', '-aux', 'au', 'ax'].includes(joined)) return AUX;
  const names = columnNames(words);
  const unknown = names.find((name) => !(name.split('=')[0]! in BY_NAME));
  if (names.length === 0 || unknown !== undefined)
    throw invalid(
      `ps_args: "${psArgs}" cannot be honoured: use -ef, aux, or -o with ${Object.keys(BY_NAME).join(',')}`,
    );
  return names.map((name) => {
    const [key = '', title] = name.split('=');
    return title ? { ...BY_NAME[key]!, title } : BY_NAME[key]!;
  });
}

/** What `-eo pid,args`, `-A -o pid -o args` and the like name; none where a word is something else. */
function columnNames(words: readonly string[]): string[] {
  const names: string[] = [];
  let isList = false;
  for (const word of words) {
    if (/^-?[eAax]*o$/.test(word)) isList = true;
    else if (isList) {
      names.push(...word.split(',').filter(Boolean));
      isList = false;
    } else if (!/^-?[eAax]+$/.test(word)) return [];
  }
  return names;
}

export function topTable(processes: readonly ProcessEntry[], psArgs: string, host: TopHost): TopResult {
  const columns = columnsOf(psArgs);
  return {
    titles: columns.map(({ title }) => title),
    processes: processes.map((entry) => ({ columns: columns.map(({ value }) => value(entry, host)) })),
  };
}

/** @param passwd lines as passwd(5) has them */
export function userNames(passwd: string): Map<number, string> {
  return new Map(
    passwd.split('\n').flatMap((line): [number, string][] => {
      const [name, , uid] = line.split(':');
      return name && uid && /^\d+$/.test(uid) ? [[Number(uid), name]] : [];
    }),
  );
}
