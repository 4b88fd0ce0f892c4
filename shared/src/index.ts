export * from './env/index.js';
export * from './errors/index.js';
