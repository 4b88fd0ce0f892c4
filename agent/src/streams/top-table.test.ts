import { expect, test } from 'vitest';
import type { ProcessEntry } from '../executor/live-container.js';
import { topTable, userNames } from './top-table.js';

const nowMs = new Date(2026, 10, 21, 14, 30).getTime();
const users = userNames('root:x:0:0:root:/root:/bin/sh\nsomebody-long:x:7:7::/:\n# no user\n');
const host = { nowMs, users, memoryBytes: 102_400_000 };
const entry = (part: Partial<ProcessEntry> = {}): ProcessEntry => ({
  uid: 0,
  pid: 4711,
  parentPid: 4700,
  cpuPercent: 12.34,
  startedAtMs: nowMs - 3_600_000,
  terminal: '?',
  cpuSeconds: 3_725,
  command: 'sleep 1d',
  name: 'sleep',
  state: 'Ss+',
  virtualBytes: 4_096_000,
  residentBytes: 1_024_000,
  ...part,
});

test('without words of the user’s the table is that of ps -ef', () => {
  const long = entry({ uid: 7, terminal: 'pts/0', cpuSeconds: 90_061, startedAtMs: nowMs - 3 * 86_400_000 });
  const { titles, processes } = topTable([entry(), long], '-ef', host);
  expect(titles).toEqual(['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
  expect(processes.map(({ columns }) => columns.join(' '))).toEqual([
    'root 4711 4700 12 13:30 ? 01:02:05 sleep 1d',
    '7 4711 4700 12 Nov18 pts/0 01-01:01:01 sleep 1d',
  ]);
});

test('columns are chosen as with ps, in any of its spellings, and named as the user wants', () => {
  for (const words of ['-o pid,cmd', '-eo pid,cmd', '-A -o pid -o cmd', 'axo pid,cmd'])
    expect(topTable([entry()], words, host)).toMatchObject({
      titles: ['PID', 'CMD'],
      processes: [{ columns: ['4711', 'sleep 1d'] }],
    });
  expect(topTable([], '-o pid=P,args', host).titles).toEqual(['P', 'COMMAND']);
  expect(topTable([entry()], '-o pid,comm,s', host).processes[0]!.columns).toEqual(['4711', 'sleep', 'S']);
});

test('aux has the columns of BSD', () => {
  const { titles, processes } = topTable([entry()], 'aux', host);

  expect(titles.join(' ')).toBe('USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND');
  expect(processes[0]!.columns.join(' ')).toBe('root 4711 12.3 1.0 4000 1000 ? Ss+ 13:30 62:05 sleep 1d');
});

test('what only ps could show is refused by name', () => {
  for (const words of ['-o pid,wchan', '--forest', '-ef --sort=pid', '-o', 'pid'])
    expect(() => topTable([], words, host)).toThrow(`ps_args: "${words}"`);
});
