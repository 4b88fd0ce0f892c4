export * from './lookup.js';
export * from './usage.js';
export * from './volumes.js';
