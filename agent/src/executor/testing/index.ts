export * from './fake-executor.js';
