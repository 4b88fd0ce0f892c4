export * from './go-duration.js';
