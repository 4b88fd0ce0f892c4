export * from './container-volumes.js';
export * from './directory.js';
export * from './volumes.js';
