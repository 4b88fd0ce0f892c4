export * from './agent-storage.js';
export * from './task-journal.js';
