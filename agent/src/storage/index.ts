export * from './task-journal.js';
