export * from './clock.js';
export * from './ids.js';
export * from './logger.js';
export * from './open-files.js';
export * from './random.js';
