import { readFile, stat } from 'node:fs/promises';
import type { ProcessEntry } from '../live-container.js';

const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4_096;
/** Numbers of /dev/pts/N. */
const PTS_MAJORS = [136, 143] as const;

/** What /proc says of these processes; those that have ended meanwhile are left out. Source: proc(5). */
export async function listProcesses(pids: readonly number[], nowMs: number): Promise<ProcessEntry[]> {
  const bootMs = Number(/^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))?.[1] ?? 0) * 1000;
  const entries = await Promise.all(pids.map((pid) => readProcess(pid, bootMs, nowMs)));
  return entries.filter((entry) => entry !== undefined);
}

async function readProcess(pid: number, bootMs: number, nowMs: number): Promise<ProcessEntry | undefined> {
  try {
    const [line, commandLine, owner] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      stat(`/proc/${pid}`),
    ]);
    // The name stands in parentheses and may hold anything.
    const name = line.slice(line.indexOf('(') + 1, line.lastIndexOf(')'));
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    const field = (number: number) => Number(fields[number - 3]);
    const cpuSeconds = (field(14) + field(15)) / TICKS_PER_SECOND;
    const startedAtMs = bootMs + (field(22) / TICKS_PER_SECOND) * 1000;
    const ageSeconds = Math.max(0.001, (nowMs - startedAtMs) / 1000);
    return {
      uid: owner.uid,
      pid,
      parentPid: field(4),
      cpuPercent: (cpuSeconds / ageSeconds) * 100,
      startedAtMs,
      terminal: terminalName(field(7)),
      cpuSeconds,
      name,
      state: stateOf(pid, fields[0] ?? '?', field),
      virtualBytes: field(23),
      residentBytes: field(24) * PAGE_BYTES,
      command: commandLine.replace(/\0+$/, '').replaceAll('\0', ' ') || `[${name}]`,
    };
  } catch {
    return undefined;
  }
}

/** The state with what ps adds: nice or not, leads a session, has threads, is in the foreground. Source: ps(1). */
function stateOf(pid: number, letter: string, field: (number: number) => number): string {
  const [group, session, foreground] = [field(5), field(6), field(8)];
  const nice = field(19);
  return [
    letter,
    nice < 0 ? '<' : nice > 0 ? 'N' : '',
    session === pid ? 's' : '',
    field(20) > 1 ? 'l' : '',
    group === foreground ? '+' : '',
  ].join('');
}

/** A device number as stat has it: the minor in bits 31 to 20 and 7 to 0, the major in 15 to 8. */
function terminalName(device: number): string {
  const major = (device >> 8) & 0xff;
  const minor = ((device >>> 20) << 8) | (device & 0xff);
  if (major < PTS_MAJORS[0] || major > PTS_MAJORS[1]) return '?';
  return `pts/${(major - PTS_MAJORS[0]) * 256 + minor}`;
}
