import { expect, test } from 'vitest';
import type { ProcessEntry } from '../executor/live-container.js';
import { topTable, userNames } from './top-table.js';

const nowMs = new Date(2026, 10, 21, 14, 30).getTime();
const users = userNames('root:x:0:0:root:/root:/bin/sh\nsomebody-long:x:7:7::/:\n# no user\n');
const entry = (part: Partial<ProcessEntry> = {}): ProcessEntry => ({
  uid: 0,
  pid: 4711,
  parentPid: 4700,
  cpuPercent: 12.34,
  startedAtMs: nowMs - 3_600_000,
  terminal: '?',
  cpuSeconds: 3_725,
  command: 'sleep 1d',
  ...part,
});

test('without words of the user’s the table is that of ps -ef', () => {
  const long = entry({ uid: 7, terminal: 'pts/0', cpuSeconds: 90_061, startedAtMs: nowMs - 3 * 86_400_000 });
  const { titles, processes } = topTable([entry(), long], '-ef', { nowMs, users });
  expect(titles).toEqual(['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
  expect(processes.map(({ columns }) => columns.join(' '))).toEqual([
    'root 4711 4700 12 13:30 ? 01:02:05 sleep 1d',
    '7 4711 4700 12 Nov18 pts/0 01-01:01:01 sleep 1d',
  ]);
});

test('columns are chosen as with ps, in any of its spellings, and named as the user wants', () => {
  for (const words of ['-o pid,cmd', '-eo pid,cmd', '-A -o pid -o cmd', 'axo pid,cmd'])
    expect(topTable([entry()], words, { nowMs, users })).toMatchObject({
      titles: ['PID', 'CMD'],
      processes: [{ columns: ['4711', 'sleep 1d'] }],
    });
  expect(topTable([], '-o pid=P,args', { nowMs, users }).titles).toEqual(['P', 'COMMAND']);
  expect(topTable([entry()], 'aux', { nowMs, users }).titles[0]).toBe('USER');
});

test('what only ps could show is refused by name', () => {
  for (const words of ['-o pid,wchan', '--forest', '-ef --sort=pid', '-o', 'pid'])
    expect(() => topTable([], words, { nowMs, users })).toThrow(`ps_args: "${words}"`);
});
