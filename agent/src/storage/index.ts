export * from './agent-storage.js';
export * from './container-journal.js';
export * from './task-journal.js';
export * from './written-size.js';
