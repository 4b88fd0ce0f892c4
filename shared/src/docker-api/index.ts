// Shapes and constants of the Docker Engine API that servers and clients share. It imports nothing, so that a
// client starts fast.
export * from './networks.js';
export * from './protected-paths.js';
export * from './system.js';
export * from './types.js';
export * from './volumes.js';
