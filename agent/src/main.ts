#!/usr/bin/env node
import { readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * Before anything is loaded: on a host whose CPUs are all busy, an agent that starts again has to be back with its
 * manager within the grace time. What it starts for others (shims, containers) has the usual priority.
 */
const PRIORITY = -10;

try {
  setPriority(PRIORITY);
  // Where the kernel shares CPUs between sessions (sched(7), autogroups), it is the session's that counts.
  if (isSessionLeader()) writeFileSync('/proc/self/autogroup', String(PRIORITY));
} catch {
  // Not permitted, or no such kernel: a start is only slower then.
}

const { run } = await import('./run.js');
await run();

/** Alone in its session, as a service manager starts it, and not beside somebody's shell. */
function isSessionLeader(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(session) === process.pid;
}
