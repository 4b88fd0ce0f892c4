export * from './go-duration.js';
export * from './human-duration.js';
export * from './sizes.js';
