export * from './assignment-set.js';
export * from './worker.js';
