export * from './advance.js';
export * from './condition.js';
export * from './semaphore.js';
export * from './task-manager.js';
