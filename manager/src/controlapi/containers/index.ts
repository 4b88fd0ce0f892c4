export * from './calls.js';
export * from './commit.js';
export * from './containers.js';
export * from './execs.js';
export * from './files.js';
export * from './lookup.js';
export * from './sizes.js';
export type { Ended, WaitCondition } from './wait.js';
