export * from './container-loop.js';
export * from './containers.js';
export * from './runtime.js';
