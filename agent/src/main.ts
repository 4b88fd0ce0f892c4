#!/usr/bin/env node
import { setPriority } from 'node:os';

/**
 * Before anything is loaded: on a host whose CPUs are all busy, an agent that starts again has to be back with its
 * manager within the grace time. What it starts for others (shims, containers) has the usual priority.
 */
const PRIORITY = -10;

try {
  setPriority(PRIORITY);
} catch {
  // Not permitted in some containers; a start is only slower then.
}

const { run } = await import('./run.js');
await run();
