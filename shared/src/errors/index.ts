export * from './cluster-error.js';
export * from './error-kind.js';
export * from './wire-codes.js';
